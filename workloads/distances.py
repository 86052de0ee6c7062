"""Distances between the features of a batch."""

import torch
from torch import Tensor


def root(squares: Tensor) -> Tensor:
    """Square root, 0 with the gradient 0 where rounding left nothing above 0."""
    hit = squares <= 0
    # The root is taken of 1 there: its slope at 0 is infinite, and autograd multiplies it by 0 even behind `where`.
    return torch.where(hit, 0.0, torch.where(hit, 1.0, squares).sqrt())


def pairwise(z: Tensor) -> Tensor:
    """Euclidean distances `[m, m]` of features `[m, D]`, by a product: `cdist` takes ten times as long."""
    length = z.square().sum(1)
    return root(length[:, None] + length[None, :] - 2.0 * z @ z.T)
