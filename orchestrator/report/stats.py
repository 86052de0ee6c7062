"""Means, spreads and paired differences with intervals. Randomness comes in as a Generator."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000


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


@dataclass(frozen=True)
class Interval:
    """An estimate with the ends of its interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def paired_difference(
    ours: npt.NDArray[np.float64],
    theirs: npt.NDArray[np.float64],
    rng: np.random.Generator,
    groups: npt.NDArray[np.int64] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean difference of two error tables `[S, N]` (seeds × test rows) with a paired bootstrap interval.

    Seeds and rows are both drawn anew with replacement, the same for both tables: the two share their seeds (initial
    weights, batch order) and their test rows. Rows of one group `[N]` (pixels of an image) are drawn together, since
    they err together. Percentile interval. Raises ValueError when the shapes differ.
    """
    if ours.shape != theirs.shape or ours.ndim != 2 or 0 in ours.shape:
        raise ValueError(f"paired tables need one shape [S, N]: got {ours.shape} and {theirs.shape}")
    difference = ours - theirs
    sums, sizes = difference, np.ones(difference.shape[1])
    if groups is not None:
        owner = np.unique(groups, return_inverse=True)[1]
        sums = np.stack([np.bincount(owner, weights=row) for row in difference])
        sizes = np.bincount(owner).astype(np.float64)
    seeds, rows = sums.shape
    # A resample is a weighted mean: counts of seeds [R, S] and of rows [R, N] say how often each was drawn.
    seed_counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    row_counts = rng.multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    row_shares = row_counts / (row_counts @ sizes)[:, None]
    means = np.einsum("rs,sn,rn->r", seed_counts, sums, row_shares, optimize=True)
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return Interval(float(difference.mean()), float(low), float(high))
