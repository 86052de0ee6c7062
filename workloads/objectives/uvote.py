"""Uncertainty voting: experts for common and for rare labels, of which the surest predicts."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from workloads.hparams import Choice, Declared, Int
from workloads.labels import Floats, Ints
from workloads.objectives.likelihood import LaplaceNLL
from workloads.seam import Step, TrainLabels

CLIP: Final = (5, 1000)
"""Bounds on the count of a bin where weights are inverse counts, as published."""

SCHEDULES: Final[dict[str, Callable[[float], tuple[float, float]]]] = {
    "dynamic": lambda done: (1.0 - done**2, done**2),
    "static": lambda done: (1.0, 1.0),
}
"""Factors on the loss of the first expert, and of the others, by the share of the stage that is done."""


def expert_weights(counts: Ints, experts: int) -> Floats:
    """Weight of every bin for every expert, `[M, bins]`, each row with mean 1 over the samples that are counted.

    w_mb ∝ n_b^(−r_m),   r_m = (m − 1)/(M − 1)
    """
    rows = []
    for power in np.linspace(0.0, 1.0, experts):
        n = counts.clip(*CLIP) if power == 1.0 else counts.clip(1)
        weights = n.astype(np.float64) ** -power
        rows.append(weights * (counts.sum() / (counts @ weights)))
    return np.stack(rows)


class UVOTE(LaplaceNLL):
    """Train several Laplace likelihoods with weights from none to inverse counts; the surest of them predicts.

        ℓ_m = log(2 b_m) + |y − μ_m| / b_m,   w_m ∝ n_b^(−r_m), mean over the training set 1,   r_m = (m − 1)/(M − 1)
        dynamic:  loss = α w_1 ℓ_1 + (1 − α) Σ_{m>1} w_m ℓ_m,   α = 1 − (share of the epochs that is done)²
        static:   loss = Σ_m w_m ℓ_m
        pred = μ_m of the expert with the smallest b_m

    The experts share the encoder; each has two outputs of the head, μ_m and the logarithm of its scale, which starts
    near the standard deviation of the training labels and has the bounds of `laplace_nll` (published: it is cut off).
    Where r = 1 counts are clipped to 5 … 1000, as published for ages. The published static form has α before its first
    term as well. Two experts are published for AgeDB, three for IMDB-WIKI and STS-B.

    It weighs by label density itself, so methods that do are refused.
    """

    source: ClassVar[str] = "Jiang et al., GCPR 2024, arXiv:2305.15178"
    note: ClassVar[str] = "reference code without a licence, not used here"
    slot: ClassVar[str | None] = "density"

    class Hparams(Declared):
        """`experts`: M; `schedule`: whether training moves from the first expert to the others."""

        experts: Annotated[int, Int(2, 5)] = 2
        schedule: Annotated[str, Choice(*SCHEDULES, tune=False)] = "dynamic"

    hparams: Hparams
    weights: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Two outputs for every expert, and the weight of every bin for each, `[bins, M]`."""
        super().fit(train)
        self.labels = self.hparams.experts
        self.outputs = 2 * self.labels
        weights = expert_weights(train.counts, self.labels).T
        self.register_buffer("weights", torch.from_numpy(weights.copy()).float())

    def decode(self, out: Tensor) -> Tensor:
        """The label of the surest expert, `[B]`."""
        middle, scale = out.chunk(2, dim=1)
        return middle.gather(1, scale.argmin(1, keepdim=True)).squeeze(1)

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in nats."""
        middle, scale = step.out.chunk(2, dim=1)
        losses = self.weights[step.batch.bin] * self.nll(middle, scale, step.batch.y.unsqueeze(1))
        first, others = SCHEDULES[self.hparams.schedule](step.batch.done)
        return first * losses[:, 0] + others * losses[:, 1:].sum(1)
