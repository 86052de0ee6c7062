"""The label grid as a tensor, for hooks that meet labels the loop has not binned."""

import torch
from torch import Tensor


def bin_of(labels: Tensor, edges: Tensor) -> Tensor:
    """Bin of every label, shaped like `labels`, on their device; labels outside the grid fall into its end bins.

    `edges` `[M + 1]` float32, as `LabelGrid.edges` has them.
    """
    found = torch.bucketize(labels.to(edges.dtype), edges, right=True) - 1
    return found.clamp(0, len(edges) - 2)
