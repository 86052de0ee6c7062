"""Metrics by shot region: pure functions of predictions and targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from workloads.labels import REGIONS, Floats

GM_FLOOR: Final = 1e-10
"""An exact hit counts as this error, in units, in the geometric mean, as in the published STS-B code: else GM is 0."""

POSITIVE_FLOOR: Final = 1e-10
"""A prediction that is not positive counts as this, in units, in metrics that take its logarithm or inverse."""

HIT: Final = 1e-5
"""A prediction this near a class, in units, is that class."""


@dataclass(frozen=True)
class Score:
    """A metric's value over `count` samples; None means that it is not defined there ("no samples")."""

    value: float | None
    count: int


Mask: TypeAlias = npt.NDArray[np.bool_]
Metric: TypeAlias = Callable[[Floats, Floats, Mask, float], float | None]
"""Of predictions and targets, `[N]`, in the region that a mask `[N]` marks, with the unit of the labels."""
Row: TypeAlias = Callable[[Floats, Floats, float], Floats]
"""Of predictions and targets, `[N]`, with the unit of the labels: a number for every row, `[N]`."""
Within: TypeAlias = Callable[[Floats, Floats, float], float | None]
"""Of the predictions and targets of a region, with the unit of the labels."""


def _absolute(pred: Floats, target: Floats, unit: float) -> Floats:
    return np.asarray(np.abs(pred - target))


def _squared(pred: Floats, target: Floats, unit: float) -> Floats:
    return np.asarray(np.square(pred - target))


def _log_error(pred: Floats, target: Floats, unit: float) -> Floats:
    errors = np.abs(pred - target)
    return np.asarray(np.log(np.where(errors == 0, GM_FLOOR * unit, errors)))


def _relative(pred: Floats, target: Floats, unit: float) -> Floats:
    return np.asarray(np.abs(pred - target) / target)


def _decades(pred: Floats, target: Floats, unit: float) -> Floats:
    return np.asarray(np.abs(np.log10(np.maximum(pred, POSITIVE_FLOOR * unit)) - np.log10(target)))


def _near(power: int, pred: Floats, target: Floats, unit: float) -> Floats:
    floored = np.maximum(pred, POSITIVE_FLOOR * unit)
    return np.asarray(np.maximum(floored / target, target / floored) < 1.25**power, dtype=np.float64)


def _hit(pred: Floats, target: Floats, unit: float) -> Floats:
    return np.asarray(np.abs(pred - target) <= HIT * unit, dtype=np.float64)


def _missed(pred: Floats, target: Floats, unit: float) -> Floats:
    return np.asarray(1.0 - _hit(pred, target, unit))


POSITIVE: Final = frozenset({"absrel", "log10", "delta1", "delta2", "delta3"})
"""Metrics that are defined where all labels are above 0."""
PER_ROW: Final[dict[str, Row]] = {
    "mae": _absolute,
    "mse": _squared,
    "gm": _log_error,
    "absrel": _relative,
    "log10": _decades,
    "delta1": partial(_near, 1),
    "delta2": partial(_near, 2),
    "delta3": partial(_near, 3),
    "accuracy": _hit,
    "error": _missed,
}
"""Metrics that are means over rows, and the numbers that they average; of GM the logarithms of errors."""
LOGARITHMIC: Final = frozenset({"gm"})
"""Metrics that are exp of the mean of their rows."""


def _mean(name: str, pred: Floats, target: Floats, unit: float) -> float | None:
    if name in POSITIVE and not (target > 0).all():
        return None
    value = float(PER_ROW[name](pred, target, unit).mean())
    return float(np.exp(value)) if name in LOGARITHMIC else value


def _rmse(pred: Floats, target: Floats, unit: float) -> float:
    return float(np.sqrt(_squared(pred, target, unit).mean()))


def _bmae(pred: Floats, target: Floats, unit: float) -> float:
    _, group, counts = np.unique(target, return_inverse=True, return_counts=True)
    return float((np.bincount(group, weights=np.abs(pred - target)) / counts).mean())


def _correlation(a: Floats, b: Floats) -> float | None:
    if np.ptp(a) == 0 or np.ptp(b) == 0:  # the mean of equal values may be rounded, and they would seem to differ
        return None
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else None


def _pearson(pred: Floats, target: Floats, unit: float) -> float | None:
    return _correlation(pred, target)


def _spearman(pred: Floats, target: Floats, unit: float) -> float | None:
    from scipy.stats import rankdata  # a third of a second, and few studies ask for ranks

    return _correlation(rankdata(pred), rankdata(target))


def _within(metric: Within, pred: Floats, target: Floats, where: Mask, unit: float) -> float | None:
    return metric(pred[where], target[where], unit)


def _miou(pred: Floats, target: Floats, where: Mask, unit: float) -> float:
    classes, of_target = np.unique(target[where], return_inverse=True)
    size = len(classes)
    hits = np.bincount(of_target[pred[where] == target[where]], minlength=size)
    place = np.searchsorted(classes, pred).clip(max=size - 1)
    taken = np.bincount(place[classes[place] == pred], minlength=size)
    return float((hits / (np.bincount(of_target, minlength=size) + taken - hits)).mean())


VARIED: Final = frozenset({"pearson", "spearman"})
"""Metrics that are defined where neither labels nor predictions are all equal."""

_WITHIN: Final[dict[str, Within]] = {
    **{name: partial(_mean, name) for name in PER_ROW},
    "rmse": _rmse,
    "bmae": _bmae,
    "pearson": _pearson,
    "spearman": _spearman,
}
METRICS: Final[dict[str, Metric]] = {
    **{name: partial(_within, metric) for name, metric in _WITHIN.items()},
    "miou": _miou,
}
"""Every metric by name; p predictions, t targets.

MAE, MSE, RMSE; GM = exp(mean log |p − t|); balanced MAE = mean over label values of their MAE; correlations. For
depths: mean |p − t| / t, mean |log10 p − log10 t|, and the share with max(p/t, t/p) < 1.25, 1.25², 1.25³, none of which
is defined where a target is not positive. For classes: the share of hits and of misses; and the mean over the region's
classes of intersection over union, which also looks at samples beyond the region that are taken for its classes.
"""

HIGHER_IS_BETTER: Final = frozenset({"pearson", "spearman", "delta1", "delta2", "delta3", "accuracy", "miou"})


def undefined(metric: str, target: npt.ArrayLike) -> str | None:
    """Why a metric cannot be defined for labels `[N]`, whatever is predicted; None where it can."""
    labels = np.asarray(target, dtype=np.float64)
    if not len(labels):
        return "there are none"
    if metric in POSITIVE and not (labels > 0).all():
        return f"{metric} needs labels above 0, and the lowest is {labels.min():g}"
    if metric in VARIED and np.ptp(labels) == 0:
        return f"{metric} needs labels that differ, and all {len(labels)} are {labels[0]:g}"
    return None


def shot_metrics(
    pred: npt.ArrayLike,
    target: npt.ArrayLike,
    regions: npt.ArrayLike,
    metrics: Sequence[str] = ("mae", "gm"),
    unit: float = 1.0,
) -> dict[str, dict[str, Score]]:
    """Every metric over all samples and in every shot region: `result[region][metric]`.

    `pred`, `target`, `regions` `[N]`, or dense, of one shape: label units, and positions in REGIONS; `unit` is what the
    floors of GM and of the metrics of depths are told in (`LabelGrid.unit`). A region without samples scores
    `Score(None, 0)`; a correlation that is undefined (one sample, constant values) scores None with its count.
    """
    p, t = (np.asarray(values, dtype=np.float64).ravel() for values in (pred, target))
    where = np.asarray(regions).ravel()
    masks: Mapping[str, npt.NDArray[np.bool_]] = {
        "all": np.ones(len(t), dtype=bool),
        **{name: where == position for position, name in enumerate(REGIONS)},
    }
    return {
        region: {
            name: Score(METRICS[name](p, t, mask, unit) if mask.any() else None, int(mask.sum())) for name in metrics
        }
        for region, mask in masks.items()
    }
