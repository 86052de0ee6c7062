"""Scores of single test rows, in the units of the tables."""

from typing import Final

from workloads.labels import Floats
from workloads.metrics import PER_ROW

PERCENT: Final = frozenset({"accuracy", "error", "miou"})
"""Metrics that tables and figures show in percent; the ledger holds shares."""


def row_scores(metric: str, pred: Floats, y: Floats, unit: float) -> Floats:
    """What a metric of `PER_ROW` averages, `[N]`."""
    rows = PER_ROW[metric](pred, y, unit)
    return 100.0 * rows if metric in PERCENT else rows
