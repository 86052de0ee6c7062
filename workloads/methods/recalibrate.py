"""Recalibration as a method: predictions mapped by a line or a curve that is fitted after training."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from workloads.labels import Floats
from workloads.recalibration import Curve, affine, isotonic
from workloads.seam import Adjust, Adjustment, HeldOut


class Recalibration(Adjustment):
    """Maps predictions by a curve from them to labels, which is fitted to held-out rows."""

    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    dense: ClassVar[bool] = False
    needs_rows: ClassVar[str] = "sorts all held-out labels after every epoch"
    curve: ClassVar[Callable[[Floats, Floats, Floats], Curve]]
    """Of predictions, labels and weights `[N]` each."""

    def adjust(self, held_out: HeldOut) -> Adjust:
        """The curve."""
        mapped = type(self).curve(held_out.output.pred, held_out.y, held_out.weights)
        return lambda output: replace(output, pred=mapped(output.pred))


class Affine(Recalibration):
    """Recalibrate predictions by a line that is fitted to validation rows.

    adjust: pred ↦ a + b · pred with the least Σ |y − a − b · pred| over the validation rows

    The control "affine on validation" of every report, as a method: so a recipe can be compared with a recalibrated
    base. It fits two numbers to labels that other recipes use for selection only, and validation rows are often drawn
    as test rows are; `affine_oof` does without them.
    """

    source: ClassVar[str] = "linear calibration by least absolute deviations (Koenker and Bassett, Econometrica 1978)"
    curve = staticmethod(affine)


class Isotonic(Recalibration):
    """Recalibrate predictions by a non-decreasing curve that is fitted to validation rows.

    adjust: pred ↦ c(pred) with the least Σ (y − c(pred))² over the validation rows, c non-decreasing

    By least *squares*, as isotonic regression is: in rare labels it goes further than `affine`. It is linear between
    predictions of validation rows, and constant beyond them.
    """

    source: ClassVar[str] = "isotonic regression (Barlow et al., 1972; Zadrozny and Elkan, KDD 2002)"
    curve = staticmethod(isotonic)


class AffineOutOfFold(Affine):
    """Recalibrate predictions by a line that is fitted out of fold to training rows.

    adjust: pred ↦ a + b · pred with the least Σ w_i |y_i − a − b · pred_i| over the training rows

    pred_i is what a model says that has not seen row i: training rows are split in three, and three more models are
    trained in step with the first, each without one part. The weights w_i = m_b / n_b of bin b (m_b validation rows,
    n_b training rows) give training rows the label distribution of the held-out ones. So no validation label is fitted:
    it is the fair variant of `affine`, and costs three times the training.

    Rows of one subject may lie in two parts; then the models know more of a row than they will of a new one.
    """

    source: ClassVar[str] = "cross-fitting (stacked generalisation, Wolpert, Neural Networks 1992), weights ours"
    folds: ClassVar[int] = 3
