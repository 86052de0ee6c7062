"""Which recipes differ from their base, and which cannot be told from the best, after correction for all comparisons.

Every recipe is compared with its base on the seeds that both have, row by row. Marks are corrected by Holm's method: in
the primary column over its recipes, everywhere over the whole table. So a table of a world without differences has a
mark in the primary column in at most 5 % of cases, and one anywhere else in at most 5 %.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from orchestrator.report.intervals import Estimate, Interval, Units, estimate
from orchestrator.report.stats import holm
from workloads.labels import Floats
from workloads.metrics import HIGHER_IS_BETTER, LOGARITHMIC

ALPHA: Final = 0.05
Column = tuple[str, str]
"""A metric and a region."""
Verdict = Literal["better", "worse", "equivalent", "undecided"]
Sums = dict[int, Floats]
"""By seed number: the score summed over every unit's rows, `[U]`."""


@dataclass(frozen=True)
class Comparison:
    """A recipe's score minus that of its base in one column, paired by seed and test row.

    For the geometric mean the difference is one of logarithms, and its ends are shown as ratios. `reference` is the
    base's score. `p` is that of this comparison alone, `p_column` and `p_table` are adjusted for all in the column and
    in the table. `estimate` is None where one seed or one row says nothing of the error.
    """

    recipe: str
    base: str
    column: Column
    value: float
    reference: float
    seeds: int
    rows: int
    estimate: Estimate | None
    primary: bool = False
    margin: float = 0.0
    p_column: float = 1.0
    p_table: float = 1.0

    @property
    def p(self) -> float:
        """Two-sided p, not adjusted; 1 where there is no estimate."""
        return self.estimate.p() if self.estimate else 1.0

    @property
    def ratio(self) -> bool:
        """Whether the difference is one of logarithms."""
        return self.column[0] in LOGARITHMIC

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval; of a ratio, its ends are ratios too."""
        if self.estimate is None:
            return None
        found = self.estimate.interval()
        return Interval(*map(math.exp, (found.value, found.low, found.high))) if self.ratio else found

    @property
    def stars(self) -> str:
        """`**` where it holds among all comparisons of the table, `*` where it holds among those of the primary column.

        Beyond the primary column only the whole table counts.
        """
        if self.p_table <= ALPHA:
            return "**"
        return "*" if self.primary and self.p_column <= ALPHA else ""

    @property
    def verdict(self) -> Verdict:
        """Better or worse where marked; equivalent where the 90 % interval lies within ± `margin` of the base's score.

        A difference that is certain but within the margin is equivalent: too small to matter (two one-sided tests).
        """
        if self.estimate is None:
            return "undecided"
        near = self.estimate.interval(1 - 2 * ALPHA)
        low, high = (
            (math.log1p(-self.margin), math.log1p(self.margin))
            if self.ratio
            else (-self.margin * abs(self.reference), self.margin * abs(self.reference))
        )
        if low < near.low and near.high < high:
            return "equivalent"
        if not self.stars:
            return "undecided"
        return "better" if (self.value > 0) == (self.column[0] in HIGHER_IS_BETTER) else "worse"


@dataclass(frozen=True)
class View:
    """What a region shows of the test rows: its units, and scores summed over them.

    `sums[metric][recipe][seed number]` `[U]`; rows may count with a weight, then units have the sums of weights.
    """

    units: Units
    sums: Mapping[str, Mapping[str, Sums]]


Scores = Mapping[str, View]
"""Of one workload, by region; of `all` and of every shot region that has rows, and `natural`."""


def compare(scores: Scores, metric: str, region: str, ours: str, theirs: str) -> Comparison | None:
    """One recipe against another in one column, on the seeds that both have; None where they share none."""
    if region not in scores or metric not in scores[region].sums:
        return None
    view = scores[region]
    mine, other = (view.sums[metric].get(recipe, {}) for recipe in (ours, theirs))
    shared = sorted(mine.keys() & other.keys())
    if not shared:
        return None
    sums = np.stack([mine[number] - other[number] for number in shared])
    total = float(view.units.rows.sum())
    return Comparison(
        recipe=ours,
        base=theirs,
        column=(metric, region),
        value=float(sums.sum(axis=1).mean() / total),
        reference=float(np.mean([other[number].sum() for number in shared]) / total),
        seeds=len(shared),
        rows=view.units.count,
        estimate=estimate(sums, view.units),
    )


def against_base(
    scores: Scores, bases: Mapping[str, str], primary: Column, margin: float
) -> dict[tuple[str, Column], Comparison]:
    """Every recipe against its base in every column, by recipe and column, with p values adjusted.

    `bases` names the base of each recipe that has one.
    """
    found: dict[tuple[str, Column], Comparison] = {}
    for region, view in scores.items():
        for metric in view.sums:
            for recipe, base in bases.items():
                made = compare(scores, metric, region, recipe, base)
                if made is not None:
                    column = (metric, region)
                    found[recipe, column] = replace(made, primary=column == primary, margin=margin)
    tested = [key for key, comparison in found.items() if comparison.estimate is not None]
    for key, p in zip(tested, holm([found[key].p for key in tested]), strict=True):
        found[key] = replace(found[key], p_table=p)
    for column in dict.fromkeys(column for _, column in tested):
        keys = [key for key in tested if key[1] == column]
        for key, p in zip(keys, holm([found[key].p for key in keys]), strict=True):
            found[key] = replace(found[key], p_column=p)
    return found


def best_set(scores: Scores, column: Column, recipes: Sequence[str]) -> frozenset[str]:
    """The recipes that cannot be told from the one with the best mean: adjusted p against it above 5 %.

    Empty for a metric that is no mean over rows, and where some recipe has no estimate, as with one seed: then nothing
    says which are alike.
    """
    metric, region = column
    if region not in scores or metric not in scores[region].sums:
        return frozenset()
    sign = -1.0 if metric in HIGHER_IS_BETTER else 1.0
    means = {
        recipe: sign * float(np.mean([sums.sum() for sums in seeds.values()]))
        for recipe in recipes
        if (seeds := scores[region].sums[metric].get(recipe))
    }
    if not means:
        return frozenset()
    best = min(means, key=means.__getitem__)
    others = [recipe for recipe in means if recipe != best]
    found = [compare(scores, metric, region, recipe, best) for recipe in others]
    if any(made is None or made.estimate is None for made in found):
        return frozenset()
    adjusted = holm([made.p for made in found if made is not None])
    return frozenset({best, *(recipe for recipe, p in zip(others, adjusted, strict=True) if p > ALPHA)})
