"""How flat the optimum of a search is: which settings cannot be told from the best by one run each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

from orchestrator.report.comparisons import ALPHA
from orchestrator.report.scores import completed
from orchestrator.report.search.tried import best_of, tried
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.space import sign_of
from workloads.hparams import Choice, Value

NEEDED: Final = 2


@dataclass(frozen=True)
class Flatness:
    """`within` of `of` settings score no worse than `noise` behind the best; `spans` says where they lie, by axis.

    A span is the least and the largest value, or for words all that occur.
    """

    noise: float
    within: int
    of: int
    spans: Mapping[str, tuple[Value, ...]]


def noise_of(plan: CellPlan, rule: str) -> float | None:
    """By how much two runs of one setting differ in their score at most, in 95 % of cases.

    √2 · t(97.5 %; S - 1) · s, with s the standard deviation over the S seeds of the selected setting. None for one.
    """
    values = [value for record in completed(plan) if (value := record.score(rule)) is not None]
    if len(values) < NEEDED:
        return None
    return float(2**0.5 * stdtrit(len(values) - 1, 1 - ALPHA / 2) * np.std(values, ddof=1))


def flatness(plan: CellPlan, rule: str) -> Flatness | None:
    """The settings of a cell within the noise of the best; None where no noise is known, or nothing is searched."""
    found, noise = tried(plan, rule), noise_of(plan, rule)
    best = best_of(found, rule)
    if best is None or noise is None or not plan.cell.axes:
        return None
    near = [one for one in found if sign_of(rule) * (one.score - best.score) <= noise]
    spans: dict[str, tuple[Value, ...]] = {}
    for axis in plan.cell.axes:
        values = sorted({one.settings[axis.name] for one in near if axis.name in one.settings})
        if values:  # an axis may act in none of them
            spans[axis.name] = tuple(values) if isinstance(axis.range, Choice) else (values[0], values[-1])
    return Flatness(noise, len(near), len(found), spans)
