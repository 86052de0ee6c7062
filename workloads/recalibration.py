"""Predictions recalibrated: the map from predictions to labels that fits best, a line or a monotone curve.

Predictions of rare labels shrink towards the common ones. A map that is fitted to rows which training did not see takes
that back without another model.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from workloads.labels import Floats, Ints, LabelGrid

Curve: TypeAlias = Callable[[Floats], Floats]
"""Of predictions `[N]`: the labels that they stand for, `[N]`."""


def folds_of(y: Floats, count: int) -> Ints:
    """The fold of every row, `[N]` in 0 … count − 1: its place in the order of labels `y` `[N]`, modulo `count`.

    So each fold has as many rows of every part of the label range as the others, and nothing is drawn.
    """
    folds = np.empty(len(y), dtype=np.int64)
    folds[np.argsort(y, kind="stable")] = np.arange(len(y)) % count
    return folds


def held_out_weights(y: Floats, held_out: Floats, grid: LabelGrid) -> Floats:
    """Weights `[N]` of mean 1 that give training labels `y` the distribution of the held-out ones.

    A row of bin b weighs m_b / n_b, with m_b held-out and n_b training rows: the histogram of held-out labels is part
    of how they were drawn, and no single label of them is used. All ones where the two share no bin.
    """
    bins = grid.bin(y)
    weights = (grid.counts(held_out) / np.maximum(grid.counts(y), 1))[bins]
    mean = float(weights.mean())
    return np.asarray(weights / mean if mean else np.ones(len(y)), dtype=np.float64)


def affine(pred: Floats, y: Floats, weights: Floats | None = None) -> Curve:
    """a + b · pred with the least Σ w_i |y_i − a − b pred_i|; the identity where `pred` is constant.

    For a slope b the best a is the weighted median of y − b · pred, and what is left is a convex function of b. Its
    minimum lies within ± 2 D(y) / D(pred), D being the weighted sum of absolute deviations from the weighted median.
    As a linear program the same line takes seconds for 10,000 rows; this takes tens of milliseconds.
    """
    from scipy.optimize import minimize_scalar

    middle, spread = float(np.median(pred)), float(pred.std())
    unit = float(y.std()) or 1.0
    if not spread > 1e-12 * (abs(middle) + unit):
        return lambda p: p
    x, t = (pred - middle) / spread, (y - y.mean()) / unit
    w = np.ones(len(y)) if weights is None else weights

    def deviations(values: Floats) -> tuple[float, float]:
        """The weighted median, and the weighted sum of absolute deviations from it."""
        order = np.argsort(values, kind="stable")
        summed = np.cumsum(w[order])
        centre = float(values[order[np.searchsorted(summed, summed[-1] / 2)]])
        return centre, float(w @ np.abs(values - centre))

    within = deviations(x)[1]
    if not within:  # the rows that weigh anything have one prediction
        return lambda p: p
    bound = 2 * deviations(t)[1] / within
    found = minimize_scalar(
        lambda b: deviations(t - b * x)[1], bounds=(-bound, bound), method="bounded", options={"xatol": 1e-10 * bound}
    )
    slope, cut = float(found.x) * unit / spread, deviations(t - found.x * x)[0] * unit + float(y.mean())
    return lambda p: np.asarray(cut + slope * (p - middle))


def isotonic(pred: Floats, y: Floats, weights: Floats | None = None) -> Curve:
    """The non-decreasing curve of `pred` with the least Σ w_i (y_i − curve(pred_i))²: means of pooled neighbours.

    Linear between predictions that were seen, constant beyond their ends. Rows of one prediction count as their mean.
    """
    from scipy.optimize import isotonic_regression

    w = np.ones(len(y)) if weights is None else weights
    x, place = np.unique(pred[w > 0], return_inverse=True)
    mass = np.bincount(place, weights=w[w > 0])
    heights = isotonic_regression(np.bincount(place, weights=(w * y)[w > 0]) / mass, weights=mass).x
    return lambda p: np.asarray(np.interp(p, x, heights), dtype=np.float64)
