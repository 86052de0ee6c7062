"""Re-weighting by the frequency of a sample's bin."""

from typing import ClassVar

from torch import Tensor

from workloads.methods.lds import lds_weights
from workloads.seam import Method, Step, TrainLabels


class Inverse(Method):
    """Weigh every sample by the inverse of its bin's training count.

        w_i ∝ 1 / clip(n_b(i), 5, 1000),   mean over the training set 1

    The clip is the published code's for ages.
    """

    source: ClassVar[str] = "baseline INV of Yang et al., ICML 2021, arXiv:2102.09554, Sec. 4.1"
    joins: ClassVar[int] = 1
    slot: ClassVar[str | None] = "density"
    scheme: ClassVar[str] = "inverse"
    weights: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Compute the weight of every training row, `[N]`."""
        self.register_buffer("weights", lds_weights(train.y, train.grid, scheme=self.scheme))

    def weigh(self, step: Step) -> Tensor:
        """Weight of every sample, `[B]`."""
        return self.weights[step.batch.index]


class SqrtInverse(Inverse):
    """Weigh every sample by the inverse square root of its bin's training count.

    w_i ∝ 1 / √n_b(i),   mean over the training set 1
    """

    source: ClassVar[str] = "baseline SQINV of Yang et al., ICML 2021, arXiv:2102.09554, Sec. 4.1"
    scheme: ClassVar[str] = "sqrt_inv"
