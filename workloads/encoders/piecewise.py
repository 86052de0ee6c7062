"""Piecewise-linear encoding: every column of a table as its place among quantiles of the training rows."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from workloads.encoders.tables import mlp

BINS: Final = 16
"""Bins of a column: on `nhanes-bmi` they validate better than 8; more were not tried."""


class PiecewiseLinear(nn.Module):
    """How far a number has come through each of the bins of its column, 0 before a bin and 1 behind it.

        z_t = min(max((x − b_(t−1)) / (b_t − b_(t−1)), 0), 1),   b_0 … b_T quantiles of the training rows

    A layer on z is a piecewise-linear function of the column, with a slope of its own in each bin: as many bins where
    many rows are, whatever the tails. A bin without width, between two equal quantiles, gives 0.

    Source: Gorishniy et al., NeurIPS 2022, arXiv:2203.05556, Eq. 1 and Sec. 3.2.1. Where we differ: beyond the
    outermost quantiles z stays 0 or 1, where the published one goes on linearly; and every column has T places, however
    many of its quantiles are equal, so that the shapes of a model do not depend on its data.
    """

    edges: Tensor

    def __init__(self, inputs: int, bins: int = BINS) -> None:
        super().__init__()
        self.register_buffer("edges", torch.zeros(inputs, bins + 1))  # until it is fitted, or read from a model
        self.dim = inputs * bins

    def fit(self, x: Tensor) -> None:
        """Set the edges of bins to quantiles of training rows `[N, F]`."""
        levels = np.linspace(0.0, 1.0, self.edges.shape[1])
        # torch.quantile takes 2²⁴ numbers at most
        self.edges.copy_(torch.from_numpy(np.quantile(x.numpy(), levels, axis=0).T.copy()))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, F]` to `[B, F T]`."""
        low, width = self.edges[:, :-1], self.edges.diff(dim=1)
        inside = x.clamp(self.edges[:, 0], self.edges[:, -1]).unsqueeze(2)  # of an infinite number, too
        return ((inside - low) / width.masked_fill(width <= 0, torch.inf)).clamp(0.0, 1.0).flatten(1)


def ple_mlp(inputs: int, hidden: Sequence[int]) -> tuple[nn.Module, int]:
    """Fully connected layers on a piecewise-linear encoding; features have the width of the last one."""
    encoding = PiecewiseLinear(inputs)
    layers, dim = mlp(encoding.dim, hidden)
    return nn.Sequential(encoding, layers), dim
