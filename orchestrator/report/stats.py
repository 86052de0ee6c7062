"""Means and spreads over seeds, and p values adjusted for the number of comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over `n` seeds; the deviation of one value is not defined."""

    mean: float
    sd: float | None
    n: int


def spread(values: npt.ArrayLike) -> Spread:
    """Mean ± sd (n - 1 in the denominator); raises ValueError for no values."""
    v = np.asarray(values, dtype=np.float64)
    if v.size == 0:
        raise ValueError("a spread needs at least one value: got none")
    return Spread(float(v.mean()), float(v.std(ddof=1)) if v.size > 1 else None, int(v.size))


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted by Holm's step-down method, in the order given.

    The k-th smallest of n becomes max over j ≤ k of min(1, (n - j + 1) p_(j)): the chance of any false rejection among
    all n is at most the level, however they depend on one another. Holm, Scand. J. Statist. 6 (1979) 65-70.
    """
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, so_far = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = so_far
    return adjusted
