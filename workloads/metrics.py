"""Metrics by shot region: pure functions of predictions and targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from workloads.labels import REGIONS, Floats

GM_FLOOR: Final = 1e-10
"""An exact hit counts as this error in the geometric mean, as in the published STS-B code; else one hit makes GM 0."""


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
    return _correlation(rankdata(pred), rankdata(target))


Metric: TypeAlias = Callable[[Floats, Floats], float | None]

METRICS: Final[dict[str, Metric]] = {
    "mae": _mae,
    "mse": _mse,
    "rmse": _rmse,
    "gm": _gm,
    "bmae": _bmae,
    "pearson": _pearson,
    "spearman": _spearman,
}
"""MAE, MSE, RMSE; GM = exp(mean log |e|); balanced MAE = mean over label values of their MAE; correlations."""

HIGHER_IS_BETTER: Final = frozenset({"pearson", "spearman"})


def shot_metrics(
    pred: npt.ArrayLike, target: npt.ArrayLike, regions: npt.ArrayLike, metrics: Sequence[str] = ("mae", "gm")
) -> dict[str, dict[str, Score]]:
    """Every metric over all samples and in every shot region: `result[region][metric]`.

    `pred`, `target` `[N]` in label units, `regions` `[N]` as positions in REGIONS. A region without samples scores
    `Score(None, 0)`; a correlation that is undefined (one sample, constant values) scores None with its count.
    """
    p, t = np.asarray(pred, dtype=np.float64), np.asarray(target, dtype=np.float64)
    where = np.asarray(regions)
    masks: Mapping[str, npt.NDArray[np.bool_]] = {
        "all": np.ones(len(t), dtype=bool),
        **{name: where == position for position, name in enumerate(REGIONS)},
    }
    return {
        region: {
            name: Score(METRICS[name](p[mask], t[mask]) if mask.any() else None, int(mask.sum())) for name in metrics
        }
        for region, mask in masks.items()
    }
