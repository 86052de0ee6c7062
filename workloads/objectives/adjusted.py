"""Cross-entropy whose outputs are adjusted by how frequent the classes are."""

from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from workloads.hparams import Choice, Declared, Float
from workloads.objectives.classes import CrossEntropy
from workloads.seam import Step, TrainLabels


class LogitAdjusted(CrossEntropy):
    """Cross-entropy with outputs that are moved by the logarithm of the class's frequency.

        training:    loss_i = −log softmax(out + τ log π)_y,   pred_i = the label of the largest out
        prediction:  loss_i = −log softmax(out)_y,             pred_i = the label of the largest out − τ log π

    π_k = share of class k in the training set. τ = 1 in training is Balanced Softmax, which `arb` is with counts of the
    whole set, but for its clamp. A class without training rows counts as one of a single row. In the paper τ of
    `prediction` is chosen after training; here it is a hyperparameter like others, and every value trains anew.
    """

    source: ClassVar[str] = "Menon et al., ICLR 2021, arXiv:2007.07314, Eq. 9 and 10"
    note: ClassVar[str] = "reference code Apache-2.0, not used here"

    class Hparams(Declared):
        """`tau`: 1 undoes the imbalance; `at`: where."""

        tau: Annotated[float, Float(0.0, 3.0)] = 1.0
        at: Annotated[str, Choice("training", "prediction", tune=False)] = "training"

    hparams: Hparams
    shift: Tensor

    def fit(self, train: TrainLabels) -> None:
        """One output for every class, and τ log π of each, `[C]`."""
        super().fit(train)
        share = train.counts.clip(1) / train.counts.sum()
        self.register_buffer("shift", torch.from_numpy(self.hparams.tau * np.log(share)).float())

    def decode(self, out: Tensor) -> Tensor:
        """The label of the class with the largest output, adjusted or not, `[B]`; it carries no gradient."""
        return super().decode(out - self.shift if self.hparams.at == "prediction" else out)

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`."""
        out = step.out + self.shift if self.hparams.at == "training" else step.out
        return cross_entropy(out, step.batch.bin, reduction="none")


class VectorScaling(CrossEntropy):
    """Cross-entropy with outputs that are scaled and moved by the class's frequency.

        loss_i = −log softmax(Δ · out + τ log π)_y,   Δ_k = (n_k / n_max)^γ,   pred_i = the label of the largest out

    The shift τ log π decides early in training; once all training samples are told apart only the scale Δ acts, which
    keeps larger margins for rare classes. γ = 0 is `logit_adjust`. A class without training rows counts as one of a
    single row. The defaults are ours; the paper tunes both on each data set.
    """

    source: ClassVar[str] = "Kini et al., NeurIPS 2021, arXiv:2103.01550"

    class Hparams(Declared):
        """`gamma` of the scale, `tau` of the shift; 0 leaves the outputs."""

        gamma: Annotated[float, Float(0.0, 1.0)] = 0.2
        tau: Annotated[float, Float(0.0, 3.0)] = 1.0

    hparams: Hparams
    scale: Tensor
    shift: Tensor

    def fit(self, train: TrainLabels) -> None:
        """One output for every class, and scale and shift of each, `[C]`."""
        super().fit(train)
        n = train.counts.clip(1)
        self.register_buffer("scale", torch.from_numpy((n / n.max()) ** self.hparams.gamma).float())
        self.register_buffer("shift", torch.from_numpy(self.hparams.tau * np.log(n / train.counts.sum())).float())

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`."""
        return cross_entropy(self.scale * step.out + self.shift, step.batch.bin, reduction="none")
