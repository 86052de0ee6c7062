"""Data sets whose labels are maps, as tests look at them."""

import torch

from workloads.workload import Data, Maps


class Floating(torch.nn.Module):
    """Bytes as numbers in 0 … 1, in training and in evaluation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float() / 255.0


def parts(data: Data) -> tuple[Maps, Maps, Maps]:
    """Train, val and test, which must be maps."""
    assert isinstance(data.train, Maps) and isinstance(data.val, Maps) and isinstance(data.test, Maps)
    return data.train, data.val, data.test
