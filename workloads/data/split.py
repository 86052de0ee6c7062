"""Splits that are balanced over the label, as the papers of the field make them."""

import numpy as np

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
