"""Where the error of a difference comes from, and what a larger study would see: seeds, test rows, and the rest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

from orchestrator.report.comparisons import Column, Scores
from workloads.labels import Floats, Ints

POWER: Final = 0.8
MOST_SEEDS: Final = 100
MOST_ROWS: Final = 10**7


@dataclass(frozen=True)
class Components:
    """Variances of a paired difference of one row and seed: by seed, by row and the rest, with S seeds and N rows."""

    seed: float
    row: float
    rest: float
    seeds: int
    rows: int

    def error(self, seeds: int, rows: int) -> tuple[float, float]:
        """Standard error of the mean difference with S seeds and N rows, and its degrees of freedom.

        se² = v_S / S + v_R / N + v_E / (S N); degrees of freedom by Satterthwaite.
        """
        parts = (self.seed / seeds, self.row / rows, self.rest / (seeds * rows))
        dfs = (seeds - 1, rows - 1, (seeds - 1) * (rows - 1))
        total = sum(parts)
        if total == 0:
            return 0.0, float(dfs[2])
        return math.sqrt(total), total**2 / sum(part**2 / df for part, df in zip(parts, dfs, strict=True))

    def detectable(self, alpha: float, seeds: int | None = None, rows: int | None = None) -> float:
        """The smallest difference that is found with 80 % power at a two-sided level: (t_{1-α/2} + t_{.8}) · se."""
        se, df = self.error(seeds or self.seeds, rows or self.rows)
        return float(stdtrit(df, 1 - alpha / 2) + stdtrit(df, POWER)) * se

    def seeds_for(self, size: float, alpha: float) -> int | None:
        """Seeds with which a difference of a size is found with 80 % power; None where no number of seeds will do."""
        for seeds in range(2, MOST_SEEDS + 1):
            if self.detectable(alpha, seeds) <= size:
                return seeds
        return None

    def rows_for(self, size: float, alpha: float, seeds: int) -> int | None:
        """Test rows with which a difference is found with 80 % power by so many seeds; None where no number will do."""
        if self.detectable(alpha, seeds, MOST_ROWS) > size:
            return None
        low, high = 1, MOST_ROWS
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.detectable(alpha, seeds, middle) <= size else (middle, high)
        return high

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares of the variance of the mean: by seed, by row, the rest."""
        parts = (self.seed / self.seeds, self.row / self.rows, self.rest / (self.seeds * self.rows))
        total = sum(parts)
        return (0.0, 0.0, 0.0) if total == 0 else (parts[0] / total, parts[1] / total, parts[2] / total)


def components(difference: Floats) -> Components | None:
    """Variance components of differences `[S, N]` by the method of moments of a two-way table without replicates.

    v_E is the mean square of what is left after seed and row means, v_S = (MS_S - v_E) / N and v_R = (MS_R - v_E) / S,
    negative ones taken as 0. None with fewer than two seeds or rows.
    """
    seeds, rows = difference.shape
    if seeds < 2 or rows < 2:
        return None
    of_seed, of_row, all_ = difference.mean(axis=1), difference.mean(axis=0), difference.mean()
    left = difference - of_seed[:, None] - of_row[None] + all_
    rest = float((left**2).sum()) / ((seeds - 1) * (rows - 1))
    by_seed = max(0.0, float(of_seed.var(ddof=1)) - rest / rows)
    by_row = max(0.0, float(of_row.var(ddof=1)) - rest / seeds)
    return Components(by_seed, by_row, rest, seeds, rows)


def within(difference: Floats, stratum: Ints) -> Floats:
    """Differences `[S, N]` without what sets strata apart, as intervals have them: each seed's mean is as it was.

    Rows are drawn within their strata (shot regions), so the means of these are no error of theirs.
    """
    _, of = np.unique(stratum, return_inverse=True)
    sums = np.stack([np.bincount(of, weights=row) for row in difference]) / np.bincount(of)
    return np.asarray(difference - sums[:, of] + difference.mean(axis=1, keepdims=True))


def typical(scores: Scores, column: Column, pairs: Sequence[tuple[str, str]]) -> Components | None:
    """The mean components of recipes' differences to their bases in one column, over units.

    None where rows come in groups or with weights, or where no pair has two seeds.
    """
    metric, region = column
    if region not in scores or metric not in scores[region].sums:
        return None
    view = scores[region]
    if view.units.group is not None or not np.all(view.units.rows == 1):
        return None
    found = []
    for ours, theirs in pairs:
        mine, other = (view.sums[metric].get(recipe, {}) for recipe in (ours, theirs))
        shared = sorted(mine.keys() & other.keys())
        made = (
            components(within(np.stack([mine[n] - other[n] for n in shared]), view.units.stratum)) if shared else None
        )
        if made is not None:
            found.append(made)
    if not found:
        return None
    seed, row, rest = (float(np.mean([getattr(c, name) for c in found])) for name in ("seed", "row", "rest"))
    return Components(seed, row, rest, min(c.seeds for c in found), found[0].rows)
