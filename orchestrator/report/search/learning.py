"""Learning curves of the selected setting: training loss and validation score by epoch, over seeds."""

from dataclasses import dataclass

import numpy as np

from orchestrator.report.scores import completed
from orchestrator.study.cell_plan import CellPlan
from workloads.labels import Floats


@dataclass(frozen=True)
class LearningCurves:
    """`loss` and `score` `[S, E]` of S seeds, NaN where a run has no such epoch or no such score; `kept` `[S]`."""

    loss: Floats
    score: Floats
    kept: tuple[int | None, ...]


def learning_curves(plan: CellPlan, rule: str) -> LearningCurves | None:
    """Those of the evaluated trials of a cell; None where none completed.

    Losses of different objectives are on different scales, scores are not.
    """
    records = completed(plan)
    length = max((len(record.curve) for record in records), default=0)
    if not length:
        return None
    loss, score = (np.full((len(records), length), np.nan) for _ in range(2))
    for s, record in enumerate(records):
        for epoch, row in enumerate(record.curve):
            loss[s, epoch] = row.loss
            value = row.score(rule)
            score[s, epoch] = np.nan if value is None else value
    return LearningCurves(loss, score, tuple(record.kept_epoch for record in records))
