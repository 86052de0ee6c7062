"""The batches of an epoch."""

import torch
from torch import Tensor


def in_batches(of: Tensor | None, rows: int, size: int, order: torch.Generator) -> list[Tensor]:
    """All `rows`, or those of `of`, in batches and in a fresh order; a last batch of one row joins its neighbour.

    BatchNorm needs two.
    """
    shuffled = torch.randperm(rows if of is None else len(of), generator=order)
    batches = list(torch.split(shuffled if of is None else of[shuffled], size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
