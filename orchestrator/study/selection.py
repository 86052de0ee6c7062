"""Which trial of a cell is evaluated: by a rule, or several and one of their Pareto set, on validation only."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from typing import TypeAlias

from orchestrator.ledger.records import Record
from orchestrator.study.objectives import Point, order
from orchestrator.study.space import sign_of

Rule: TypeAlias = str | Sequence[str]
"""A score `val/metric/region`, or several."""
IDEAL = "ideal"


@dataclass(frozen=True)
class Candidate:
    """A setting that was tuned and rescored: its trial of the search, those of further seeds, and its mean score.

    `lacks` counts seeds without a score, because their training failed. `score` is by the first of several rules,
    `scores` by each.
    """

    record: Record
    rescored: tuple[Record, ...]
    scores: tuple[float, ...]
    lacks: int

    @property
    def score(self) -> float:
        """By the first rule."""
        return self.scores[0]


def ranked(records: Iterable[Record], rule: Rule, pick: str = IDEAL) -> list[Record]:
    """Completed trials that have the scores, the best first; of equal ones the first comes first.

    Stopped trials were judged at fewer epochs and cannot be selected.
    """
    ready = sorted(records, key=lambda record: record.number)
    scored = [(record, found) for record in ready if (found := _scores(record, rule)) is not None]
    return [scored[i][0] for i in order([_errors(found, rule) for _, found in scored], pick)]


def select(candidates: Iterable[tuple[Record, Sequence[Record]]], rule: Rule, pick: str = IDEAL) -> Candidate | None:
    """Of settings with the trials that rescored them, the one with the best mean over its seeds; None of none.

    One whose training failed with some seed comes behind all that trained with more of theirs.
    """
    found = []
    for record, rescored in candidates:
        scores = [each for r in (record, *rescored) if (each := _scores(r, rule)) is not None]
        means = tuple(fsum(column) / len(scores) for column in zip(*scores, strict=True))
        found.append(Candidate(record, tuple(rescored), means, 1 + len(rescored) - len(scores)))
    fewest = min((c.lacks for c in found), default=0)
    whole = sorted((c for c in found if c.lacks == fewest), key=lambda c: c.record.number)
    return whole[order([_errors(c.scores, rule) for c in whole], pick)[0]] if whole else None


def _rules(rule: Rule) -> Sequence[str]:
    return [rule] if isinstance(rule, str) else rule


def _errors(scores: Sequence[float], rule: Rule) -> Point:
    """Scores so that less is better."""
    return tuple(sign_of(name) * score for name, score in zip(_rules(rule), scores, strict=True))


def _scores(record: Record, rule: Rule) -> tuple[float, ...] | None:
    """The scores of a completed trial; None where it lacks one."""
    found = [record.score(name) for name in _rules(rule)] if record.status == "completed" else [None]
    return None if None in found else tuple(score for score in found if score is not None)


def why_none(records: Iterable[Record], rule: Rule) -> str:
    """Why none of the trials can be selected, beside those that failed; empty where all failed."""
    status = Counter(record.status for record in records)
    if status["completed"]:
        return (
            f"nothing is selected: {' or '.join(_rules(rule))} is not defined in any of the {status['completed']} "
            "completed trials, whose predictions are all equal there"
        )
    return f"nothing is selected: early stopping stopped {status['stopped']} trials" if status["stopped"] else ""
