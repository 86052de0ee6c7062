"""Further scores of a table, beside its columns: SERA, and the few-shot error of the low and of the high tail apart.

Methods move predictions of rare labels up or down together, and may help one tail at the cost of the other: `few/low`
and `few/high` are the few-shot rows whose bins lie below the one of the training median, and above it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.report.scores import Region, Wanted, row_means
from orchestrator.report.stats import Spread
from orchestrator.report.tables import Table
from workloads.labels import REGIONS, Ints
from workloads.relevance import relevance, sera
from workloads.workload import Data, Workload

LOW: Final = "few/low"
HIGH: Final = "few/high"


def tails(workload: Workload, data: Data) -> dict[str, Ints]:
    """Test rows of the few-shot bins in the low and in the high tail; none where all lie in one, as `few` says it."""
    few = workload.regions(data, data.test) == REGIONS.index("few")
    bins = workload.grid.bin(data.test.y.numpy())
    middle = int(workload.grid.bin(np.median(data.train.y.numpy())))
    found = {LOW: np.flatnonzero(few & (bins < middle)), HIGH: np.flatnonzero(few & (bins >= middle))}
    return found if all(len(rows) for rows in found.values()) else {}


def of_tails(workload: Workload, data: Data) -> Wanted:
    """SERA over all test rows, and the metrics of the table in each tail; nothing of maps and classes.

    SERA (`workloads.relevance.sera`) is a sum over rows, so each counts N times in what is averaged.
    """
    if workload.dense or workload.task != "regression":
        return Wanted({}, {})
    phi, means = relevance(data.train.y.numpy()), row_means(workload, data)
    regions = {name: Region.of(workload, data, rows, means) for name, rows in tails(workload, data).items()}
    regions["all"] = Region.of(workload, data, np.arange(len(data.test.y)), ["sera"])
    return Wanted({**means, "sera": lambda pred, y: len(y) * sera(pred, y, phi)}, regions)


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
