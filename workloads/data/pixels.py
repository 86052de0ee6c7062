"""Dense splits from maps that are read a few at a time: which pixels are counted and which are scored."""

import hashlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import Tensor

from workloads.cache import default_folder, writing
from workloads.labels import Ints, LabelGrid
from workloads.seeds import seed_of

Reader: TypeAlias = Callable[[Tensor, torch.device], Tensor]
"""Rows `[B]` (on the CPU) to inputs, or to label maps `[B, h, w]` with NaN where there is no label, on a device."""

CPU: Final = torch.device("cpu")
CHUNK: Final = 64


def labelled(maps: Reader, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Places row · h · w + pixel, ascending, and labels of the labelled pixels of ascending rows, a few at a time."""
    for some in torch.split(rows, CHUNK):
        y = maps(some, CPU).flatten(1)
        known = ~y.isnan()
        yield (some[:, None] * y.shape[1] + torch.arange(y.shape[1]))[known], y[known]


def count_pixels(maps: Reader, rows: Tensor, grid: LabelGrid, key: str = "") -> Ints:
    """Labelled pixels of rows in every bin, `[M]`; kept beside the decoded images under a key, where one is given."""
    name = hashlib.sha256(f"{key} {grid} {len(rows)}".encode()).hexdigest()[:32]
    path = default_folder() / f"{name}.counts.npy"
    if key and (kept := _kept(path, grid.bins)) is not None:
        return kept
    counts = np.zeros(grid.bins, dtype=np.int64)
    for _, y in labelled(maps, rows):
        counts += grid.counts(y.numpy())
    if key:
        temporary = path.with_suffix(f".{os.getpid()}.tmp.npy")
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(temporary, counts)
            temporary.replace(path)
    return counts


def _kept(path: Path, bins: int) -> Ints | None:
    """Counts of an earlier process; None where there are none that are whole."""
    try:
        counts = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return counts if counts.shape == (bins,) and counts.dtype == np.int64 else None


def balanced(counts: Ints, most: int) -> Ints:
    """How many pixels of every bin to score, `[M]`: all, but `most`, as balanced test sets have it."""
    return np.minimum(counts, most)


def proportional(counts: Ints, total: int) -> Ints:
    """How many pixels of every bin to score, `[M]`: about `total`, distributed as all are, one at least of each bin."""
    share = min(1.0, total / max(int(counts.sum()), 1))
    return np.asarray(np.minimum(np.maximum(np.rint(counts * share).astype(np.int64), 1), counts))


def spaced(rows: int, most: int) -> Tensor:
    """At most so many rows, evenly spaced."""
    kept = min(rows, most)
    return torch.arange(kept) * rows // kept


def choose(maps: Reader, rows: Tensor, grid: LabelGrid, counts: Ints, wanted: Ints, name: str) -> tuple[Tensor, Tensor]:
    """Places and labels `[P]` of `wanted` `[M]` pixels of every bin, of the `counts` `[M]` that the rows have.

    The draw of a bin depends on the name and the bin alone. Ascending, as `Maps` wants them.
    """
    starts = np.cumsum(counts) - counts
    ranks = [
        starts[b] + np.random.default_rng(seed_of(name, int(b))).choice(counts[b], wanted[b], replace=False)
        for b in np.flatnonzero(wanted)
    ]
    drawn = np.sort(np.concatenate(ranks))
    at: list[Tensor] = []
    labels: list[Tensor] = []
    for place, y in labelled(maps, rows):
        bins = grid.bin(y.numpy())
        order = np.argsort(bins, kind="stable")
        here = np.bincount(bins, minlength=grid.bins)
        rank = np.empty(len(bins), dtype=np.int64)
        rank[order] = np.arange(len(bins)) - np.repeat(np.cumsum(here) - here, here) + np.repeat(starts, here)
        starts = starts + here
        found = np.searchsorted(drawn, rank).clip(max=len(drawn) - 1)
        chosen = torch.from_numpy(drawn[found] == rank)
        at.append(place[chosen])
        labels.append(y[chosen])
    return torch.cat(at), torch.cat(labels)


def marked(maps: Reader, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Places and labels `[P]` of the labelled pixels that a mask `[N, h, w]` marks."""
    pairs = list(labelled(lambda rows, device: maps(rows, device).where(mask[rows], math.nan), torch.arange(len(mask))))
    return torch.cat([place for place, _ in pairs]), torch.cat([y for _, y in pairs])
