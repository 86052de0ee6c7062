"""Which trial of a cell is evaluated: by a named rule, on validation only."""

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
