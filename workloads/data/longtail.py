"""The long-tailed cut: training rows of a balanced data set thinned out so that class counts fall exponentially.

Source of the profile: Cui et al., CVPR 2019, arXiv:1901.05555, Sec. 5.1, as the published code of the re-weighting and
balanced-loss papers uses it. That code draws no validation rows and selects on test; here `held` rows of every class
are put aside first, so a class keeps fewer rows than published only where its profile wants them all.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from workloads.labels import Floats, Ints, LabelGrid, Shots
from workloads.seeds import seed_of

SHOTS: Final = Shots(100, 20)
"""Regions by training rows of a class, as Liu et al., CVPR 2019, arXiv:1904.05160 name them."""

METRICS: Final = ("accuracy", "error")


def class_grid(classes: int) -> LabelGrid:
    """The grid on which the bin of a label is its class: labels 0 … C − 1, edges 0, 1, …, C."""
    return LabelGrid(0, classes, classes)


def long_tail_counts(largest: int, classes: int, factor: float) -> Ints:
    """Rows of every class, `[C]`: n_c = ⌊largest · factor^(−c / (C − 1))⌋, at least one.

    Raises ValueError for fewer than two classes, or a factor below 1 (1 leaves the classes equal).
    """
    if classes < 2 or factor < 1:
        raise ValueError(f"a long tail needs two classes and a factor ≥ 1: got {classes} classes, factor {factor:g}")
    shares: Floats = factor ** (-np.arange(classes) / (classes - 1))
    # Rounding must not cost a row where the product is whole (400 · 1/50); the published code truncates as well.
    return np.maximum(np.floor(largest * shares + 1e-9), 1).astype(np.int64)


def long_tail(labels: Ints, counts: Ints, held: Sequence[int], name: str) -> tuple[Ints, ...]:
    """Rows of train, then of each held-out part, each ascending.

    `labels` `[N]` in 0 … C − 1; `counts` `[C]` bounds the training rows of a class, `held` has the rows per class of
    each part that is balanced. The draw of a class depends on `name` and the class alone: it is the same everywhere,
    and of two factors the larger one's rows are among the smaller one's. Raises ValueError for a class that has no row
    left to train on.
    """
    parts: list[list[Ints]] = [[] for _ in range(1 + len(held))]
    ends = np.cumsum(held)
    for c, count in enumerate(counts):
        rows = np.flatnonzero(labels == c)
        if len(rows) <= ends[-1]:
            raise ValueError(f"class {c} needs more than {ends[-1]} rows, which are held out: got {len(rows)}")
        drawn = np.random.default_rng(seed_of(name, c)).permutation(rows)
        *kept, rest = np.split(drawn, ends)
        for part, chosen in zip(parts, (rest[:count], *kept), strict=True):
            part.append(chosen)
    return tuple(np.sort(np.concatenate(part)) for part in parts)
