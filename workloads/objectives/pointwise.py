"""Objectives that look at one prediction and one target."""

from typing import Annotated, ClassVar

from torch import Tensor

from workloads.hparams import Choice, Declared, Float
from workloads.losses import ACTIVATIONS, focal, huber
from workloads.seam import Objective, Step

__all__ = ["L1", "MSE", "FocalL1", "FocalMSE", "Huber", "focal", "huber"]


class L1(Objective):
    """Absolute error.

    loss_i = |pred_i − y_i|
    """

    source: ClassVar[str] = "base loss of the age data sets in Yang et al., ICML 2021, arXiv:2102.09554"

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in label units."""
        return (step.pred - step.batch.y).abs()


class MSE(Objective):
    """Squared error.

    loss_i = (pred_i − y_i)²
    """

    source: ClassVar[str] = "base loss of STS-B-DIR and NYUD2-DIR in Yang et al., ICML 2021, arXiv:2102.09554"

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in squared label units."""
        return (step.pred - step.batch.y).square()


class Huber(Objective):
    """Squared near the target, absolute beyond β.

    loss_i = e²/(2β) if e < β else e − β/2,   e = |pred_i − y_i|

    The default β is the published one for ages; for STS-B it is 0.3 of a score in [0, 1].
    """

    source: ClassVar[str] = "Huber, Ann. Math. Stat. 1964; scaled as in the code of Yang et al., ICML 2021"

    class Hparams(Declared):
        """`beta` in label units."""

        beta: Annotated[float, Float(0.01, 100.0, log=True)] = 1.0

    hparams: Hparams

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in label units."""
        return huber(step.pred, step.batch.y, self.hparams.beta)


class FocalL1(Objective):
    """Focal-R on the absolute error: large errors count more.

    loss_i = e · s(β e)^γ,   e = |pred_i − y_i|,   s(u) = 2σ(u) − 1 or tanh(u)

    The paper prints σ(|β e|); 2σ − 1, which starts at 0, is its code's, as are the defaults for ages. For STS-B β is 20
    per score in [0, 1]. At an exact hit value and gradient are 0, for γ < 1 too.
    """

    source: ClassVar[str] = "baseline Focal-R of Yang et al., ICML 2021, arXiv:2102.09554, Sec. 4.1"
    version: ClassVar[int] = 2  # 2: a gradient at exact hits for γ < 1, and s(u) of small u with all its digits
    power: ClassVar[int] = 1

    class Hparams(Declared):
        """`beta` per label unit."""

        beta: Annotated[float, Float(0.01, 100.0, log=True)] = 0.2
        gamma: Annotated[float, Float(0.25, 4.0, log=True)] = 1.0
        activation: Annotated[str, Choice(*ACTIVATIONS)] = "sigmoid"

    hparams: Hparams

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in label units to the power."""
        p = self.hparams
        return focal(step.pred, step.batch.y, self.power, p.beta, p.gamma, p.activation)


class FocalMSE(FocalL1):
    """Focal-R on the squared error.

    loss_i = e² · s(β e)^γ,   with the absolute error e inside s, on purpose as in the published code
    """

    power: ClassVar[int] = 2
