"""The error of a paired difference: training seeds by Student's t, test rows by the normal distribution.

A difference D of two recipes' mean errors has two independent sources of error. The S seeds (initial weights, batch
order) are few, so their part has a t distribution with S - 1 degrees of freedom; the test rows are many, so theirs is
normal. The sum of the two is the Behrens-Fisher problem, and its tail is an integral in one dimension:

    P(|D| > x) = 2 E_z[ T(-(x - r z) / s; S - 1) ]        s, r: standard errors by seed and by row, z standard normal

Nothing is drawn at random, so a table has the same marks each time it is made.
"""

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import numpy as np
import scipy
from scipy.special import ndtr, stdtr

from workloads.labels import Floats, Ints

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)
_NORMAL: Final = _WEIGHTS / _WEIGHTS.sum()
_GRID: Final = np.linspace(-30.0, 30.0, 1201)
"""Of w in t = sinh w: the trapezoid rule on it converges fast and reaches far into the tails of t."""
_T: Final = np.sinh(_GRID)
LEVEL: Final = 0.95


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


@dataclass(frozen=True)
class Estimate:
    """A mean paired difference over `seeds`, with its standard errors by seed and by test row."""

    value: float
    by_seed: float
    by_row: float
    seeds: int

    def p(self) -> float:
        """Two-sided p of no difference; 1 where nothing differs."""
        return tail(abs(self.value), self.by_seed, self.by_row, self.seeds - 1)

    def interval(self, level: float = LEVEL) -> Interval:
        """The interval of a level: all differences that a test at 1 - level does not reject."""
        half = half_width(level, self.by_seed, self.by_row, self.seeds - 1)
        return Interval(self.value, self.value - half, self.value + half)


@dataclass(frozen=True)
class Units:
    """What counts as one observation among test rows: the rows themselves, or groups of them.

    A unit is a row, or the rows that a group (a subject, an image) has in one stratum (a shot region). `rows` `[U]`
    are their numbers of rows, or sums of weights; `stratum` `[U]` their regions; `group` `[U]` their groups, None where
    every unit is a row of its own; `count` is the number of rows behind them.
    """

    rows: Floats
    stratum: Ints
    group: Ints | None
    count: int

    @property
    def independent(self) -> int:
        """Independent observations: groups, or rows."""
        return len(self.rows) if self.group is None else len(np.unique(self.group))


def units_of(stratum: Ints, group: Ints | None, weights: Floats | None = None) -> tuple[Units, Ints]:
    """The units of test rows `[N]`, and the unit of every row `[N]`."""
    each = np.ones(len(stratum)) if weights is None else weights
    if group is None:
        return Units(each, stratum, None, len(each)), np.arange(len(each))
    pairs, owner = np.unique(np.stack([group, stratum]), axis=1, return_inverse=True)
    owner = owner.ravel()
    rows = np.bincount(owner, weights=each).astype(np.float64)
    return Units(rows, pairs[1], pairs[0], len(each)), owner


def estimate(sums: Floats, units: Units) -> Estimate | None:
    """The mean difference of `sums` `[S, U]`, differences summed over each unit's rows, for S seeds.

    With d_s the mean of seed s, m_u the mean over seeds of unit u, n_u its rows, N all rows, and r_h the mean per row
    of stratum h:

        V_seed = Var_s(d_s) / S            V_row = Σ_h k_h / (k_h - 1) · Σ_{u in h} (m_u - r_h n_u)² / N²

    with k_h units in stratum h. Where units form groups, residuals are first summed over each of the G groups, and the
    factor is G / (G - 1): rows of one subject err together. None for one seed or fewer than two independent
    observations: nothing says then how far the difference would move.
    """
    seeds, total = len(sums), float(units.rows.sum())
    if seeds < 2 or units.independent < 2:
        return None
    means = sums.sum(axis=1) / total
    unit_means = sums.mean(axis=0)
    _, stratum = np.unique(units.stratum, return_inverse=True)
    per_row = np.bincount(stratum, weights=unit_means) / np.bincount(stratum, weights=units.rows)
    residuals = unit_means - per_row[stratum] * units.rows
    if units.group is None:
        size = np.bincount(stratum)
        if (size < 2).any():  # a stratum of one row says nothing of its spread: then all rows are one stratum
            residuals, size = unit_means - unit_means.sum() / total * units.rows, np.array([len(unit_means)])
            stratum = np.zeros_like(stratum)
        by_row = float((size / (size - 1) * np.bincount(stratum, weights=residuals**2)).sum()) / total**2
    else:
        _, group = np.unique(units.group, return_inverse=True)
        summed = np.bincount(group, weights=residuals)
        by_row = float(len(summed) / (len(summed) - 1) * (summed**2).sum()) / total**2
    return Estimate(float(means.mean()), float(means.std(ddof=1)) / seeds**0.5, by_row**0.5, seeds)


def tail(x: float, by_seed: float, by_row: float, df: int) -> float:
    """P(|s t + r z| > x) for t with `df` degrees of freedom and a standard normal z.

    The integral runs over the variable with the smaller share, where the other's distribution function is smooth.
    """
    if by_seed == 0 and by_row == 0:
        return 1.0 if x == 0 else 0.0
    if by_seed == 0:
        return float(2 * ndtr(-x / by_row))
    if by_row <= by_seed:
        return float(min(1.0, 2 * (_NORMAL @ stdtr(df, -(x - by_row * _NODES) / by_seed))))
    return float(min(1.0, 2 * (_student(df) @ ndtr(-(x - by_seed * _T) / by_row))))


@cache
def _student(df: int) -> Floats:
    """The share that each of the nodes `_T` has of t with `df` degrees of freedom."""
    density = np.exp(-(df + 1) / 2 * np.log1p(_T * _T / df)) * np.cosh(_GRID)
    return np.asarray(density / density.sum())


@lru_cache(maxsize=1 << 16)
def half_width(level: float, by_seed: float, by_row: float, df: int) -> float:
    """The x with P(|s t + r z| > x) = 1 - level; kept, since every output asks again."""
    scale = math.hypot(by_seed, by_row)
    if scale == 0:
        return 0.0
    s, r = by_seed / scale, by_row / scale  # of order one, whatever the unit of the label
    high = 4.0
    while tail(high, s, r, df) > 1 - level:
        high *= 2
    half = scipy.optimize.brentq(lambda x: tail(x, s, r, df) - (1 - level), 0.0, high, xtol=1e-10)
    return scale * float(half)
