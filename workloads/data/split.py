"""Splits that are balanced over the label, as in the papers of the field."""

import numpy as np
import numpy.typing as npt

from workloads.labels import Ints
from workloads.seeds import seed_of


def balanced_split(bins: Ints, cap: int, name: str) -> tuple[Ints, Ints, Ints]:
    """Rows of train, val and test, each ascending: from every bin min(count // 3, cap) rows to val and to test.

    `bins` `[N]`; the draw of a bin depends on `name` and the bin alone, so it is the same everywhere. Bins with fewer
    than three rows stay in train. Source: the age data sets of Yang et al., ICML 2021, arXiv:2102.09554.
    """
    val: list[Ints] = []
    test: list[Ints] = []
    for b in np.unique(bins):
        rows = np.flatnonzero(bins == b)
        take = min(len(rows) // 3, cap)
        drawn = np.random.default_rng(seed_of(name, int(b))).permutation(rows)
        val.append(drawn[:take])
        test.append(drawn[take : 2 * take])
    held = np.sort(np.concatenate(val)), np.sort(np.concatenate(test))
    train = np.setdiff1d(np.arange(len(bins)), np.concatenate(held))
    return train, *held


def grouped_split(bins: Ints, groups: npt.ArrayLike, cap: int, name: str) -> tuple[Ints, Ints, Ints]:
    """Like `balanced_split`, with every group (a subject) in one split.

    `groups` `[N]`. Groups go, in an order that depends on `name` alone, to val or test as long as that brings a bin
    nearer to its min(count // 3, cap) rows and none beyond it; the rest is train.
    """
    ids, owner = np.unique(np.asarray(groups), return_inverse=True)
    size = int(bins.max()) + 1
    room = {held: np.minimum(np.bincount(bins, minlength=size) // 3, cap) for held in (1, 2)}
    # Bins that a group has rows in, and how many: a table of all groups × bins would outgrow the memory.
    pairs, rows = np.unique(owner.astype(np.int64) * size + bins, return_counts=True)
    starts = np.searchsorted(pairs, np.arange(len(ids) + 1) * size)
    place = np.zeros(len(ids), dtype=np.int64)  # 0 train, 1 val, 2 test
    for group in np.random.default_rng(seed_of(name, "groups")).permutation(len(ids)):
        own = slice(starts[group], starts[group + 1])
        at = pairs[own] % size
        fits = [held for held in (1, 2) if (rows[own] <= room[held][at]).all()]
        if fits:
            held = max(fits, key=lambda h: int(room[h].sum()))
            place[group] = held
            room[held][at] -= rows[own]
    return tuple(np.flatnonzero(place[owner] == split) for split in (0, 1, 2))  # type: ignore[return-value]  # three
