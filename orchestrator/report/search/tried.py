"""What was tried in the search of a cell, with its scores: what all that is said of hyperparameters is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.ledger.records import Record
from orchestrator.study.planner import CellPlan
from orchestrator.study.space import direction
from workloads.hparams import Value

SPLIT: Final = "val"


@dataclass(frozen=True)
class Tried:
    """A completed trial of a search: its active settings, defaults included, and the score that it is judged by."""

    number: int
    settings: Mapping[str, Value]
    score: float
    record: Record


def tried(plan: CellPlan, rule: str) -> list[Tried]:
    """Completed trials of a cell's search that have the score `val/metric/region`, by number.

    Trials that train a setting again with other seeds are behind the search, and are left out.
    """
    return [
        Tried(record.number, plan.suggested[record.number], value, record)
        for record in plan.searched
        if record.number < len(plan.suggested)
        and record.status == "completed"
        and (value := record.score(rule)) is not None
    ]


def sign_of(rule: str) -> float:
    """1 where less is better, else -1: times this, every score is an error."""
    return 1.0 if direction(rule) == "minimize" else -1.0


def best_of(trials: Sequence[Tried], rule: str) -> Tried | None:
    """The trial with the best score; of equal ones the first."""
    sign = sign_of(rule)
    return min(trials, key=lambda one: (sign * one.score, one.number), default=None)
