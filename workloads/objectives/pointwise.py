"""Losses of one prediction and one target."""

from typing import ClassVar

from torch import Tensor

from workloads.seam import Objective, Step


class L1(Objective):
    """Absolute error.

    loss_i = |pred_i - y_i|
    """

    source: ClassVar[str] = "base loss of the age data sets in Yang et al., ICML 2021, arXiv:2102.09554"

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in label units."""
        return (step.pred - step.batch.y).abs()


class MSE(Objective):
    """Squared error.

    loss_i = (pred_i - y_i)²
    """

    source: ClassVar[str] = "base loss of STS-B-DIR and NYUD2-DIR in Yang et al., ICML 2021, arXiv:2102.09554"

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in squared label units."""
        return (step.pred - step.batch.y).square()
