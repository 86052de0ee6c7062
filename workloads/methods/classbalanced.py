"""Class-balanced weights: the inverse of the effective number of a bin's samples."""

import math
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from workloads.hparams import Choice, Declared
from workloads.labels import Floats, Ints
from workloads.seam import Method, Step, TrainLabels


def effective_weights(counts: Ints, beta: float) -> Floats:
    """Weight of every bin, `[M]`, with mean 1 over the samples that `counts` `[M]` counts.

        w_b ∝ (1 − β) / (1 − β^n_b)

    A bin without training rows, which only a synthetic label can reach, has the weight of a bin of one.
    """
    share = -np.expm1(counts.clip(1) * math.log(beta))  # 1 − βⁿ keeps its digits where β is near 1
    weights = (1.0 - beta) / share
    return np.asarray(weights * (counts.sum() / (counts @ weights)))


class ClassBalanced(Method):
    """Weigh every sample by the inverse of the effective number of samples in its bin.

        w_i ∝ (1 − β) / (1 − β^n_b(i)),   mean over the training set 1

    Between no weights (β → 0) and inverse counts (β → 1): beyond about 1 / (1 − β) samples a bin counts as full. In
    the paper a bin is a class, and weights have mean 1 over classes; over the training set, as here, the scale of the
    loss is that of the loss without weights.

    The values of β are those of the paper, which chooses one on each data set; 0.9999 is what later work takes.
    """

    source: ClassVar[str] = "Cui et al., CVPR 2019, arXiv:1901.05555, Sec. 4"
    joins: ClassVar[int] = 1
    slot: ClassVar[str | None] = "density"

    class Hparams(Declared):
        """`beta`: share of its volume that a sample adds, so that 1 / (1 − β) samples are a full bin."""

        beta: Annotated[float, Choice(0.9, 0.99, 0.999, 0.9999)] = 0.9999

    hparams: Hparams
    weights: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Compute the weight of every bin, `[M]`."""
        self.register_buffer("weights", torch.from_numpy(effective_weights(train.counts, self.hparams.beta)).float())

    def weigh(self, step: Step) -> Tensor:
        """Weight of every sample, `[B]`, or of every pixel, `[B, …]`."""
        return self.weights[step.batch.bin]
