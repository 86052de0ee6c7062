"""Bins of the labels of custom data: where they start and end, and how many there may be."""

import math
from pathlib import Path

import numpy as np

from workloads.data.custom.bins import bins_between
from workloads.data.custom.schema import CustomData
from workloads.labels import Floats, LabelGrid
from workloads.messages import brief
from workloads.workload import DataError


def grid_of(own: CustomData, y: Floats, path: Path) -> LabelGrid:
    """Bins of the labels `[N]`, from `low` or the multiple of the width below the smallest label.

    Raises DataError for labels outside `low` and `high`, and for bins that are too many or too narrow.
    """
    width, smallest, largest = own.bin_width, float(y.min()), float(y.max())
    try:
        # The span of the labels first: quotients below may be too large for whole numbers.
        bins_between(smallest if own.low is None else own.low, largest if own.high is None else own.high, width)
        low = _start(smallest, width) if own.low is None else own.low
        if own.high is None:
            bins = _bins(low, largest, width)
            high = max(low + bins * width, largest)
            bins_between(low, high, width)
        else:
            high, bins = own.high, bins_between(low, own.high, width)
    except ValueError as err:
        far = int(np.argmax(np.abs(y - np.median(y))))
        raise DataError(
            f"{path}: {err}; give another bin_width, or low and high. Row {far + 1} has the label that is farthest "
            f"from the others: {brief(own.target)[1:-1]} = {y[far]:g}"
        ) from None
    wrong = np.flatnonzero((y < low) | (y > high))
    if len(wrong):
        named = brief(own.target)[1:-1]
        raise DataError(
            *(f"{path}: row {row + 1}: {named} = {y[row]:g} lies outside {low:g} … {high:g}" for row in wrong[:20])
        )
    return LabelGrid(low, high, bins)


def _start(smallest: float, width: float) -> float:
    """The multiple of the width at or below a label; never above it, as ⌊y / w⌋ · w may be by rounding."""
    tolerance = _rounding(smallest, width)
    return min(math.floor(smallest / width + tolerance) * width, smallest)


def _bins(low: float, largest: float, width: float) -> int:
    """Bins of a width that hold labels up to the largest; one at an edge, but for rounding, is in the bin above it."""
    return max(1, math.floor((largest - low) / width + 1e-9 + _rounding(largest, width)) + 1)


def _rounding(label: float, width: float) -> float:
    """What rounding of a label may change in its place among the bins."""
    return float(4 * np.spacing(abs(label)) / width)
