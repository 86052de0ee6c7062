"""The pinball loss of a quantile."""

from typing import Annotated, ClassVar

from torch import Tensor

from workloads.hparams import Declared, Float
from workloads.seam import Objective, Step


class Quantile(Objective):
    """Pinball loss: the prediction is the quantile of the label at a level, not its middle.

        loss_i = |e| + (2τ − 1) e = 2 max(τ e, (τ − 1) e),   e = y_i − pred_i,   τ = level

    Twice the usual pinball loss, so that τ = ½ is the absolute error. Above ½ predictions are drawn upwards, for data
    whose rare labels are the high ones.
    """

    source: ClassVar[str] = "Koenker & Bassett, Econometrica 46, 1978"

    class Hparams(Declared):
        """`level`: τ."""

        level: Annotated[float, Float(0.05, 0.95)] = 0.5

    hparams: Hparams

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in label units."""
        error = step.batch.y - step.pred
        return error.abs() + (2.0 * self.hparams.level - 1.0) * error
