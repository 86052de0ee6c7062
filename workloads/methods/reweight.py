"""Re-weighting by the frequency of a sample's bin."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from workloads.hparams import Declared, Int, Law
from workloads.laws import Ordered
from workloads.methods.lds import density_weights
from workloads.seam import Method, Step, TrainLabels


class SqrtInverse(Method):
    """Weigh every sample by the inverse square root of its bin's training count.

    w_i ∝ 1 / √n_b(i),   mean over the training set 1
    """

    source: ClassVar[str] = "baseline SQINV of Yang et al., ICML 2021, arXiv:2102.09554, Sec. 4.1"
    joins: ClassVar[int] = 1
    slot: ClassVar[str | None] = "density"
    weights: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Compute the weight of every bin, `[M]`."""
        self.register_buffer("weights", torch.from_numpy(density_weights(train.counts)).float())

    def weigh(self, step: Step) -> Tensor:
        """Weight of every sample, `[B]`, or of every pixel, `[B, …]`."""
        return self.weights[step.batch.bin]


class Inverse(SqrtInverse):
    """Weigh every sample by the inverse of its bin's training count.

        w_i ∝ 1 / clip(n_b(i), 5, 1000),   mean over the training set 1

    The clip is the published code's for ages; for STS-B and NYUD2 it does not clip.
    """

    source: ClassVar[str] = "baseline INV of Yang et al., ICML 2021, arXiv:2102.09554, Sec. 4.1"

    class Hparams(Declared):
        """Bounds on the count, in training rows."""

        clip_low: Annotated[int, Int(0, 10**9, tune=False)] = 5
        clip_high: Annotated[int, Int(1, 10**9, tune=False)] = 1000

        laws: ClassVar[tuple[Law, ...]] = (Ordered("clip_low", "clip_high"),)

    hparams: Hparams

    def fit(self, train: TrainLabels) -> None:
        """Compute the weight of every bin, `[M]`."""
        clip = (self.hparams.clip_low, self.hparams.clip_high)
        weights = density_weights(train.counts, "inverse", clip=clip)
        self.register_buffer("weights", torch.from_numpy(weights).float())
