"""What was tried in the search of a cell, with its scores: what all that is said of hyperparameters is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.ledger.records import Record
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.space import sign_of
from workloads.hparams import Value


@dataclass(frozen=True)
class Tried:
    """A completed trial of a search: its active settings, defaults included, and the score that it is judged by."""

    number: int
    settings: Mapping[str, Value]
    score: float
    record: Record


def tried(plan: CellPlan, rule: str) -> list[Tried]:
    """Completed trials of a cell's search that have the score `val/metric/region`, by number."""
    return [
        Tried(record.number, plan.suggested[record.number], value, record)
        for record in plan.searched
        if record.status == "completed" and (value := record.score(rule)) is not None
    ]


def best_of(trials: Sequence[Tried], rule: str) -> Tried | None:
    """The trial with the best score; of equal ones the first."""
    sign = sign_of(rule)
    return min(trials, key=lambda one: (sign * one.score, one.number), default=None)
