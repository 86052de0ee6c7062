"""Which trial of a cell is evaluated: by a named rule, on validation only."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum

from orchestrator.ledger.records import Record
from orchestrator.study.space import sign_of


@dataclass(frozen=True)
class Candidate:
    """A setting that was tuned and rescored: its trial of the search, those of further seeds, and its mean score.

    `lacks` counts seeds without a score, because their training failed.
    """

    record: Record
    rescored: tuple[Record, ...]
    score: float
    lacks: int


def ranked(records: Iterable[Record], rule: str) -> list[Record]:
    """Completed trials that have the score `val/metric/region`, the best first; of equal ones the first comes first.

    Stopped trials were judged at fewer epochs and cannot be selected.
    """
    sign = sign_of(rule)
    scored = [(sign * value, r.number, r) for r in records if (value := _score(r, rule)) is not None]
    return [record for _, _, record in sorted(scored, key=lambda item: item[:2])]


def select(candidates: Iterable[tuple[Record, Sequence[Record]]], rule: str) -> Candidate | None:
    """Of settings with the trials that rescored them, the one with the best mean over its seeds; None of none.

    One whose training failed with some seed comes behind all that trained with more of theirs.
    """
    sign, found = sign_of(rule), []
    for record, rescored in candidates:
        scores = [value for r in (record, *rescored) if (value := _score(r, rule)) is not None]
        found.append(Candidate(record, tuple(rescored), fsum(scores) / len(scores), 1 + len(rescored) - len(scores)))
    return min(found, key=lambda c: (c.lacks, sign * c.score, c.record.number), default=None)


def _score(record: Record, rule: str) -> float | None:
    return record.score(rule) if record.status == "completed" else None


def why_none(records: Iterable[Record], rule: str) -> str:
    """Why none of the trials can be selected, beside those that failed; empty where all failed."""
    status = Counter(record.status for record in records)
    if status["completed"]:
        return (
            f"nothing is selected: {rule} is not defined in any of the {status['completed']} completed trials, whose "
            "predictions are all equal there"
        )
    return f"nothing is selected: early stopping stopped {status['stopped']} trials" if status["stopped"] else ""
