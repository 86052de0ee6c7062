"""Objectives of classification: a class is a bin of the grid."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from workloads.hparams import Choice, Declared
from workloads.seam import Objective, Step, TrainLabels


class CrossEntropy(Objective):
    """Cross-entropy over the bins of the label grid.

        loss_i = −log( exp(out_y) / Σ_k exp(out_k) ),   pred_i = the label of the largest output

    A class's label is the lower end of its bin: grid 0 … C with C bins has the labels 0, 1, …, C − 1.
    """

    source: ClassVar[str] = "ordinary classification"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    low: Tensor
    width: Tensor

    def fit(self, train: TrainLabels) -> None:
        """One output for every bin."""
        self.outputs = train.grid.bins
        self.register_buffer("low", torch.tensor(train.grid.low))
        self.register_buffer("width", torch.tensor(train.grid.width))

    def decode(self, out: Tensor) -> Tensor:
        """The label of the class with the largest output, `[B]`; it carries no gradient."""
        return self.low + self.width * out.argmax(1)

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`."""
        return cross_entropy(step.out, step.batch.bin, reduction="none")


class ARB(CrossEntropy):
    """Attraction–repulsion balanced loss: the repulsion between classes is scaled by their counts.

        loss_i = −log( n_y exp(z_y) / Σ_k n_k exp(z_k) ),   z = out clamped to [−30, 30]

    n = counts of the whole training set (`global`: Balanced Softmax, logit adjustment with τ = 1) or of the batch,
    where classes that the batch lacks drop out of the sum. The clamp is the published code's.
    """

    source: ClassVar[str] = "Xie et al., arXiv:2204.08735"
    note: ClassVar[str] = "reference code MIT"

    class Hparams(Declared):
        """Which counts: the published configurations use `global` for ImageNet-LT, `batch` for the smaller ones."""

        counts: Annotated[str, Choice("global", "batch")] = "global"

    hparams: Hparams
    n: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Keep the training count of every class, `[C]`."""
        super().fit(train)
        self.batch_matters = self.hparams.counts == "batch"
        self.register_buffer("n", torch.from_numpy(train.counts).float())

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`."""
        n = self.n
        if self.hparams.counts == "batch":
            n = torch.zeros_like(n).index_add_(0, step.batch.bin, torch.ones_like(step.batch.y, dtype=n.dtype))
        return cross_entropy(step.out.clamp(-30.0, 30.0) + n.log(), step.batch.bin, reduction="none")
