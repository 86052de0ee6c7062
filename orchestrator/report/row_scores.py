"""Metrics that are means over test rows, and what each of them adds up: only these have intervals."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from workloads.labels import Floats
from workloads.metrics import GM_FLOOR, POSITIVE_FLOOR


@dataclass(frozen=True)
class RowScore:
    """`of(pred, y)` is the score of every row, `[N]`; with `ratio`, rows hold logarithms and differences are ratios."""

    of: Callable[[Floats, Floats], Floats]
    ratio: bool = False


def _log_error(pred: Floats, y: Floats) -> Floats:
    error = np.abs(pred - y)
    return np.asarray(np.log(np.where(error == 0, GM_FLOOR, error)))


def _factor(pred: Floats, y: Floats) -> Floats:
    floored = np.maximum(pred, POSITIVE_FLOOR)
    return np.asarray(np.maximum(floored / y, y / floored))


def _within(power: int) -> RowScore:
    return RowScore(lambda pred, y: np.asarray(_factor(pred, y) < 1.25**power, dtype=np.float64))


ROW_SCORES: Final[dict[str, RowScore]] = {
    "mae": RowScore(lambda pred, y: np.abs(pred - y)),
    "mse": RowScore(lambda pred, y: np.square(pred - y)),
    "gm": RowScore(_log_error, ratio=True),
    "absrel": RowScore(lambda pred, y: np.asarray(np.abs(pred - y) / y)),
    "log10": RowScore(lambda pred, y: np.abs(np.log10(np.maximum(pred, POSITIVE_FLOOR)) - np.log10(y))),
    "delta1": _within(1),
    "delta2": _within(2),
    "delta3": _within(3),
    "accuracy": RowScore(lambda pred, y: np.asarray(100.0 * np.isclose(pred, y), dtype=np.float64)),
    "error": RowScore(lambda pred, y: np.asarray(100.0 * ~np.isclose(pred, y), dtype=np.float64)),
}
"""By metric, in the units of the tables: accuracy and error in percent. The geometric mean is exp of a mean of logs."""
