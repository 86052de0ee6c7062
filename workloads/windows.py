"""Windows over neighbouring label bins, of statistics of features."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def reflected(buckets: int, width: int) -> Tensor:
    """Buckets `[M + W − 1]` under a window of width W as it moves over M buckets: beyond the borders they reflect."""
    return torch.from_numpy(np.pad(np.arange(buckets), width // 2, mode="reflect" if buckets > 1 else "edge"))


def windowed(values: Tensor, window: Sequence[float], places: Tensor) -> Tensor:
    """A window `[W]` over the rows of values `[M, …]`, in O(M · D) memory; `places` `[M + W − 1]` are rows under it."""
    under = values[places]
    rows = len(values)
    smoothed = under[:rows] * window[0]
    for offset, weight in enumerate(window[1:], start=1):
        smoothed.add_(under[offset : offset + rows], alpha=weight)
    return smoothed


def smoothed(values: Tensor, known: Tensor, window: Sequence[float], places: Tensor) -> Tensor:
    """The window over the known rows of values `[M, D]`, renormalised; where none is in reach the values stay."""
    share = known.to(values.dtype).unsqueeze(1)
    reach = windowed(share, window, places)
    return torch.where(reach > 0, windowed(values * share, window, places) / reach.clamp(min=1e-12), values)
