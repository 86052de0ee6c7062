"""Which trial of a cell is evaluated: by a named rule, on validation only."""

from collections import Counter
from collections.abc import Iterable

from orchestrator.ledger.records import Record
from orchestrator.study.space import direction


def select_best(records: Iterable[Record], rule: str) -> Record | None:
    """The completed trial with the best score `val/metric/region`; None when there is none.

    Stopped trials were judged at fewer epochs and cannot be selected. Of equal ones the first counts.
    """
    sign = 1.0 if direction(rule) == "minimize" else -1.0
    scored = [
        (sign * value, record.number, record)
        for record in records
        if record.status == "completed" and (value := record.score(rule)) is not None
    ]
    return min(scored, key=lambda item: item[:2])[2] if scored else None


def why_none(records: Iterable[Record], rule: str) -> str:
    """Why none of the trials can be selected, beside those that failed; empty where all failed."""
    status = Counter(record.status for record in records)
    if status["completed"]:
        return (
            f"nothing is selected: {rule} is not defined in any of the {status['completed']} completed trials, whose "
            "predictions are all equal there"
        )
    return f"nothing is selected: early stopping stopped {status['stopped']} trials" if status["stopped"] else ""
