"""Metrics by shot region: pure functions of predictions and targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from workloads.labels import REGIONS, Floats

GM_FLOOR: Final = 1e-10
"""An exact hit counts as this error in the geometric mean, as in the published STS-B code; else one hit makes GM 0."""

POSITIVE_FLOOR: Final = 1e-10
"""A prediction that is not positive counts as this in the metrics of depths, which take its logarithm or inverse."""


@dataclass(frozen=True)
class Score:
    """A metric's value over `count` samples; None means that it is not defined there ("no samples")."""

    value: float | None
    count: int


def _mae(pred: Floats, target: Floats) -> float:
    return float(np.abs(pred - target).mean())


def _mse(pred: Floats, target: Floats) -> float:
    return float(np.square(pred - target).mean())


def _rmse(pred: Floats, target: Floats) -> float:
    return float(np.sqrt(np.square(pred - target).mean()))


def _gm(pred: Floats, target: Floats) -> float:
    errors = np.abs(pred - target)
    return float(np.exp(np.log(np.where(errors == 0, GM_FLOOR, errors)).mean()))


def _bmae(pred: Floats, target: Floats) -> float:
    _, group, counts = np.unique(target, return_inverse=True, return_counts=True)
    return float((np.bincount(group, weights=np.abs(pred - target)) / counts).mean())


def _correlation(a: Floats, b: Floats) -> float | None:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else None


def _pearson(pred: Floats, target: Floats) -> float | None:
    return _correlation(pred, target)


def _spearman(pred: Floats, target: Floats) -> float | None:
    from scipy.stats import rankdata  # a third of a second, and few studies ask for ranks

    return _correlation(rankdata(pred), rankdata(target))


def _absrel(pred: Floats, target: Floats) -> float | None:
    return float((np.abs(pred - target) / target).mean()) if (target > 0).all() else None


def _log10(pred: Floats, target: Floats) -> float | None:
    if not (target > 0).all():
        return None
    return float(np.abs(np.log10(np.maximum(pred, POSITIVE_FLOOR)) - np.log10(target)).mean())


def _delta(power: int, pred: Floats, target: Floats) -> float | None:
    if not (target > 0).all():
        return None
    floored = np.maximum(pred, POSITIVE_FLOOR)
    return float((np.maximum(floored / target, target / floored) < 1.25**power).mean())


def _accuracy(pred: Floats, target: Floats) -> float:
    return float(np.isclose(pred, target).mean())


def _error(pred: Floats, target: Floats) -> float:
    return 1.0 - _accuracy(pred, target)


Mask: TypeAlias = npt.NDArray[np.bool_]
Metric: TypeAlias = Callable[[Floats, Floats, Mask], float | None]
"""Of predictions and targets, `[N]`, in the region that a mask `[N]` marks."""


def _within(
    metric: Callable[[Floats, Floats], float | None], pred: Floats, target: Floats, where: Mask
) -> float | None:
    return metric(pred[where], target[where])


def _miou(pred: Floats, target: Floats, where: Mask) -> float:
    classes, of_target = np.unique(target[where], return_inverse=True)
    size = len(classes)
    hits = np.bincount(of_target[pred[where] == target[where]], minlength=size)
    place = np.searchsorted(classes, pred).clip(max=size - 1)
    taken = np.bincount(place[classes[place] == pred], minlength=size)
    return float((hits / (np.bincount(of_target, minlength=size) + taken - hits)).mean())


_WITHIN: Final[dict[str, Callable[[Floats, Floats], float | None]]] = {
    "mae": _mae,
    "mse": _mse,
    "rmse": _rmse,
    "gm": _gm,
    "bmae": _bmae,
    "pearson": _pearson,
    "spearman": _spearman,
    "absrel": _absrel,
    "log10": _log10,
    "delta1": partial(_delta, 1),
    "delta2": partial(_delta, 2),
    "delta3": partial(_delta, 3),
    "accuracy": _accuracy,
    "error": _error,
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


def shot_metrics(
    pred: npt.ArrayLike, target: npt.ArrayLike, regions: npt.ArrayLike, metrics: Sequence[str] = ("mae", "gm")
) -> dict[str, dict[str, Score]]:
    """Every metric over all samples and in every shot region: `result[region][metric]`.

    `pred`, `target`, `regions` `[N]`, or dense, of one shape: label units, and positions in REGIONS. A region without
    samples scores `Score(None, 0)`; a correlation that is undefined (one sample, constant values) scores None with its
    count.
    """
    p, t = (np.asarray(values, dtype=np.float64).ravel() for values in (pred, target))
    where = np.asarray(regions).ravel()
    masks: Mapping[str, npt.NDArray[np.bool_]] = {
        "all": np.ones(len(t), dtype=bool),
        **{name: where == position for position, name in enumerate(REGIONS)},
    }
    return {
        region: {name: Score(METRICS[name](p, t, mask) if mask.any() else None, int(mask.sum())) for name in metrics}
        for region, mask in masks.items()
    }
