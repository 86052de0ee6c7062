"""Further scores of a table, beside its columns: SERA, and the few-shot error of the low and of the high tail apart.

Methods move predictions of rare labels up or down together, and may help one tail at the cost of the other: `few/low`
and `few/high` are the few-shot rows whose bins lie below the one of the training median, and above it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from orchestrator.ledger.ledger import Ledger
from orchestrator.report.comparisons import Scores, View
from orchestrator.report.controls import Control
from orchestrator.report.intervals import units_of
from orchestrator.report.row_scores import row_scores
from orchestrator.report.scores import PerSeed, every_prediction, of_units, units_by_number
from orchestrator.report.stats import Spread
from orchestrator.report.tables import Table
from orchestrator.study.planner import CellPlan
from workloads import WORKLOADS
from workloads.labels import REGIONS, Floats, Ints
from workloads.metrics import PER_ROW, undefined
from workloads.relevance import relevance, sera
from workloads.workload import Data, Workload, groups_of

LOW: Final = "few/low"
HIGH: Final = "few/high"


def tails(workload: Workload, data: Data) -> dict[str, Ints]:
    """Test rows of the few-shot bins in the low and in the high tail; none where all lie in one, as `few` says it."""
    few = workload.regions(data, data.test) == REGIONS.index("few")
    bins = workload.grid.bin(data.test.y.numpy())
    middle = int(workload.grid.bin(np.median(data.train.y.numpy())))
    found = {LOW: np.flatnonzero(few & (bins < middle)), HIGH: np.flatnonzero(few & (bins >= middle))}
    return found if all(len(rows) for rows in found.values()) else {}


def further_scores(
    plans: Sequence[CellPlan],
    ledger: Ledger,
    data: Data,
    controls: Sequence[Control] = (),
    workload: Workload | None = None,
) -> Scores:
    """SERA over all test rows, and the metrics of the table in each tail; none of maps and classes.

    SERA (`workloads.relevance.sera`) is a sum over rows, so each counts N times in what is averaged. `workload` has the
    metrics and regions to show.
    """
    workload = workload or WORKLOADS[plans[0].cell.workload]
    if workload.dense or workload.task != "regression":
        return {}
    every = np.arange(len(data.test.y))
    means: dict[str, _Measure] = {
        m: partial(_row_mean, m, workload.grid.unit)
        for m in workload.metrics
        if m in PER_ROW and undefined(m, data.test.y.numpy()) is None
    }
    wanted: dict[str, tuple[Ints, Mapping[str, _Measure]]] = {
        r: (rows, means) for r, rows in tails(workload, data).items()
    }
    phi = relevance(data.train.y.numpy())
    wanted["all"] = (every, {"sera": lambda pred, y: len(y) * sera(pred, y, phi)})
    where, groups = workload.regions(data, data.test), groups_of(data)
    units = {r: units_of(where[rows], None if groups is None else groups[rows]) for r, (rows, _) in wanted.items()}
    found: PerSeed = {}
    for recipe, number, y, pred in every_prediction(plans, ledger, data, controls):
        for region, (rows, measures) in wanted.items():
            for metric, measure in measures.items():
                values = measure(pred[rows], y[rows])
                if units[region][0].group is not None:
                    values = np.bincount(units[region][1], weights=values).astype(np.float64)
                found.setdefault((region, metric, recipe), {})[number] = values
    sums = of_units(found, units_by_number(plans))
    return {
        region: View(units[region][0], {metric: sums.get((region, metric), {}) for metric in measures})
        for region, (_, measures) in wanted.items()
    }


_Measure = Callable[[Floats, Floats], Floats]
"""Of predictions and labels `[N]`: what is averaged, `[N]`."""


def _row_mean(metric: str, unit: float, pred: Floats, y: Floats) -> Floats:
    return row_scores(metric, pred, y, unit)


@dataclass(frozen=True)
class TailErrors:
    """One row's error in the few-shot bins of each tail."""

    recipe: str
    low: Spread
    high: Spread


def tail_errors(table: Table, metric: str = "mae") -> list[TailErrors]:
    """The rows of a table with results in both tails, in their order; empty where few-shot labels lie in one tail."""
    return [
        TailErrors(row.recipe, row.scores[metric, LOW], row.scores[metric, HIGH])
        for row in table.rows
        if {(metric, LOW), (metric, HIGH)} <= row.scores.keys()
    ]
