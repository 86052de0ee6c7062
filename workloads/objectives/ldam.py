"""Label-distribution-aware margins."""

from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from workloads.heads import Cosine
from workloads.hparams import Declared, Float
from workloads.labels import Floats, Ints
from workloads.objectives.classes import CrossEntropy
from workloads.seam import Step, TrainLabels


def margins(counts: Ints, largest: float) -> Floats:
    """Margin of every class, `[C]`: n_c^(−1/4), scaled so that the rarest class has the largest.

    A class without training rows counts as one of a single row.
    """
    raw = counts.clip(1).astype(np.float64) ** -0.25
    return np.asarray(largest * raw / raw.max())


class LDAM(CrossEntropy):
    """Cross-entropy of cosines in which the label's class must win by a margin, the larger the rarer it is.

        loss_i = −log softmax(s · (out − m_y e_y))_y,   out_k = cos(w_k, z),   m_c = m · n_c^(−1/4) / max_c n_c^(−1/4)

    e_y is 1 at the class of the label. The head has unit weights and no bias, so a margin has a size. s = 30 and m = ½
    are the published ones. With deferred weights, `ldam + class_balanced + drw`, it is the paper's LDAM-DRW.
    """

    source: ClassVar[str] = "Cao et al., NeurIPS 2019, arXiv:1906.07413"
    note: ClassVar[str] = "reference code MIT"

    class Hparams(Declared):
        """`margin`: m of the rarest class, in cosines; `scale`: s."""

        margin: Annotated[float, Float(0.01, 1.0, log=True)] = 0.5
        scale: Annotated[float, Float(1.0, 100.0, log=True)] = 30.0

    hparams: Hparams
    margin: Tensor

    def fit(self, train: TrainLabels) -> None:
        """One output for every class, and its margin, `[C]`."""
        super().fit(train)
        self.register_buffer("margin", torch.from_numpy(margins(train.counts, self.hparams.margin)).float())

    def head(self, dim: int) -> nn.Module:
        """A head of cosines."""
        return Cosine(dim, self.outputs)

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`."""
        at = step.batch.bin.unsqueeze(1)
        out = step.out.scatter_add(1, at, -self.margin[at].to(step.out.dtype))
        return cross_entropy(self.hparams.scale * out, step.batch.bin, reduction="none")
