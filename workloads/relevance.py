"""SERA: squared errors weighed by the relevance of labels, which box-plot outliers have in full.

Source: Ribeiro and Moniz, Machine Learning 2020, doi 10.1007/s10994-020-05900-9.
"""

from typing import Final

import numpy as np

from workloads.labels import Floats
from workloads.recalibration import Curve

WHISKER: Final = 1.5
"""Interquartile ranges from a quartile to the fence beyond which a label is an outlier."""


def relevance(train: Floats) -> Curve | None:
    """The relevance φ of labels, in [0, 1], from training labels `[N]`; None where none is a box-plot outlier.

    φ(median) = 0, and φ = 1 at the last label within the fences Q1 − 1.5 IQR and Q3 + 1.5 IQR, and beyond it. Between
    them a cubic with slope 0 at both ends, the monotone (PCHIP) one through these points. A side without outliers has
    relevance 0 throughout: its extreme labels are not rare. None, too, where the median is such a last label.

    The fences are those of the plain box plot. The paper moves them with the skewness of the labels (adjusted box
    plot), which calls fewer labels of a long tail outliers.
    """
    from scipy.interpolate import CubicHermiteSpline

    low, median, high = np.quantile(train, (0.25, 0.5, 0.75))
    reach = WHISKER * (high - low)
    below, above = train < low - reach, train > high + reach
    points = {float(median): 0.0}
    if below.any():
        points[float(train[~below].min())] = 1.0
    if above.any():
        points[float(train[~above].max())] = 1.0
    at = np.array(sorted(points))
    if len(at) < 2 or points[float(median)]:
        return None
    curve = CubicHermiteSpline(at, [points[x] for x in at], np.zeros(len(at)))
    return lambda y: np.asarray(curve(np.clip(y, at[0], at[-1])), dtype=np.float64)


def sera(pred: Floats, y: Floats, phi: Curve) -> Floats:
    """Of every row, `[N]`, what it adds to SERA: φ(y) · (pred − y)², in squared label units.

    SERA = ∫₀¹ SER_t dt with SER_t = Σ_{φ(y_i) ≥ t} (pred_i − y_i)². A row is in SER_t for all t up to φ(y_i), so the
    integral is exactly Σ_i φ(y_i) · (pred_i − y_i)². Published code sums over steps of t. It is a sum over test rows,
    comparable on one test set only; lower is better. It needs the training labels, so it is no member of `METRICS`.
    """
    return np.asarray(phi(y) * np.square(pred - y))
