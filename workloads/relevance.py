"""Relevance of a label: how much it matters that it is predicted well, from the distribution of the training labels."""

import math
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

Values = TypeVar("Values", npt.NDArray[np.float64], Tensor)
"""An array or a tensor: the formula is the same."""

TAILS: Final = ("outliers", "both")
"""Which extremes are relevant: the tails that have outliers (both where none has), or both in any case."""


@dataclass(frozen=True)
class Relevance:
    """0 at the median, 1 from the two ends on, with slope 0 there; an end at infinity is a tail that is not relevant.

        φ(y) = 3s² − 2s³,   s = clip((median − y) / (median − low), 0, 1) below the median,
                                clip((y − median) / (high − median), 0, 1) above

    The monotone cubic through the three control points with slope 0 at each.
    """

    low: float
    median: float
    high: float

    def __call__(self, y: Values) -> Values:
        """Relevance of labels in [0, 1], shaped like `y`, an array or a tensor."""
        below = ((self.median - y) / (self.median - self.low)).clip(0, 1)
        above = ((y - self.median) / (self.high - self.median)).clip(0, 1)
        way = below + above  # one of them is 0
        cubic: Values = way * way * (3 - 2 * way)
        return cubic


def relevance(labels: npt.ArrayLike, tails: str = "outliers") -> Relevance:
    """The relevance function of training labels `[N]`, by their box plot.

        low = min{ y ≥ Q1 − 1.5 IQR },   high = max{ y ≤ Q3 + 1.5 IQR }

    Labels beyond are outliers. An end that coincides with the median, where half of the labels are equal, moves on to
    the smallest or largest label; where that is the median as well, the tail is not relevant.

    Source: Ribeiro & Moniz, Machine Learning 109, 2020. Its reference implementations are under the GPL: this is
    written from the formula. Quartiles are numpy's, not Tukey's hinges.
    """
    values = np.asarray(labels, dtype=np.float64).ravel()
    q1, median, q3 = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    reach = 1.5 * (q3 - q1)
    low, high = float(values[values >= q1 - reach].min()), float(values[values <= q3 + reach].max())
    least, most = float(values.min()), float(values.max())
    tailed = (least < low, most > high)
    if tails == "both" or not any(tailed):
        tailed = (True, True)
    low, high = (low if low < median else least), (high if high > median else most)
    return Relevance(
        low if tailed[0] and low < median else -math.inf, median, high if tailed[1] and high > median else math.inf
    )
