"""Conformal correction of a predicted quantile: validation rows say how far it is off."""

import math
from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np

from workloads.hparams import Declared, Float, Int
from workloads.labels import Floats
from workloads.seam import Adjust, Adjustment, HeldOut, Output


def conformal_quantile(errors: Floats, level: float) -> float:
    """The ⌈(n + 1) τ⌉-th smallest of n errors, the largest where that is beyond them.

    An error of one more row from the same distribution is at most as large with a chance of at least τ, if that is not
    beyond them.
    """
    place = math.ceil(round((len(errors) + 1) * level, 9))
    return float(np.sort(errors)[min(max(place, 1), len(errors)) - 1])


class Conformal(Adjustment):
    """Move a predicted quantile so that it holds its share of validation labels, region by region.

        adjust: pred ↦ pred + q_r,   q_r = the ⌈(n_r + 1) τ⌉-th smallest of the y − pred of validation rows in region r

    A region is where a prediction lies among those of validation: `regions` parts with equally many rows, since the
    label of a new row, and so its shot region, is not known. Then y ≤ pred for at least a share τ of new rows in every
    region, whatever the model: the ends of an interval are two such recipes, `quantile + conformal` at two levels. A
    region with fewer rows than 1 / (1 − τ) has the largest error of its rows.

    `level` is to be that of `quantile.level`. Intervals of equal width on either side of any prediction come
    with `tailsweep predict`.
    """

    source: ClassVar[str] = "Romano et al., NeurIPS 2019, arXiv:1905.03222; by groups as in Vovk et al., 2005"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    dense: ClassVar[bool] = False
    needs_rows: ClassVar[str] = "sorts all held-out labels after every epoch"

    class Hparams(Declared):
        """`level`: τ; `regions`: how many, fewer where validation has few rows (ours)."""

        level: Annotated[float, Float(0.05, 0.95, tune=False)] = 0.5
        regions: Annotated[int, Int(1, 20, tune=False)] = 5

    hparams: Hparams

    def adjust(self, held_out: HeldOut) -> Adjust:
        """The shift of every region."""
        p, pred = self.hparams, held_out.output.pred
        count = max(1, min(p.regions, len(pred) // 2))
        ends = np.unique(np.quantile(pred, np.arange(1, count) / count))
        region = np.searchsorted(ends, pred)
        errors = held_out.y - pred
        whole = conformal_quantile(errors, p.level)
        shifts = np.array(
            [
                conformal_quantile(errors[region == r], p.level) if (region == r).any() else whole
                for r in range(len(ends) + 1)
            ]
        )

        def adjusted(output: Output) -> Output:
            return replace(output, pred=output.pred + shifts[np.searchsorted(ends, output.pred)])

        return adjusted
