"""Intervals around predictions by split conformal prediction, one width for every region of predicted labels.

    interval = pred ± q_r,   q_r = the ⌈(n_r + 1) · level⌉-th smallest |y − pred| of the n_r validation rows of region r

r is the shot region of the *predicted* label, so it is known for new rows. Where rows are exchangeable, intervals of a
region hold at least `level` of its labels. Validation rows also chose epoch and setting, which makes intervals slightly
too narrow. A region with too few rows has no interval.

Source: Lei et al., JASA 2018, arXiv:1604.04173, Algorithm 2; by groups: Vovk, ACML 2012 (Mondrian).
"""

import math
from dataclasses import dataclass

import numpy as np

from workloads.labels import Floats, Ints, LabelGrid


@dataclass(frozen=True)
class Calibration:
    """Absolute errors `[N]` of validation rows, and the regions `[N]` of what was predicted for them."""

    errors: Floats
    regions: Ints

    def widths(self, level: float) -> dict[int, float]:
        """Half the width of intervals by region; without those that have too few rows for the level."""
        found = {}
        for region in np.unique(self.regions).tolist():
            errors = np.sort(self.errors[self.regions == region])
            rank = math.ceil((len(errors) + 1) * level - 1e-9)  # 10 · 0.9 is a little more than 9
            if rank <= len(errors):
                found[int(region)] = float(errors[rank - 1])
        return found


def regions_of(pred: Floats, grid: LabelGrid, by_bin: Ints) -> Ints:
    """The shot region of predicted labels `[N]`, as `by_bin` `[M]` says it; beyond the grid, that of its end."""
    return by_bin[grid.bin(np.clip(pred, grid.low, grid.high))]


def calibrated(pred: Floats, y: Floats, grid: LabelGrid, by_bin: Ints) -> Calibration:
    """What intervals are made of: predictions and labels `[N]` of rows that training did not see."""
    return Calibration(np.abs(y - pred), regions_of(pred, grid, by_bin))
