"""Evidential regression with pseudo-counts, the head of variational imbalanced regression."""

from typing import Annotated, ClassVar, Final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from workloads.hparams import Declared, Float
from workloads.objectives.evidential import LEAST, evidential_loss
from workloads.seam import Objective, Step

SOFT: Final = 0.1
"""Sharpness of the softplus, as published: it is 6.9 at 0."""


class PseudoCounts(Objective):
    """Likelihood of a label whose evidence is a count of samples like it, and weights multiply that count.

        loss_i = ½ log(π/ν) − α log(2β(1 + ν)) + (α + ½) log(ν (y − γ)² + 2β(1 + ν)) + log Γ(α) − log Γ(α + ½)
                 + λ |y − γ| (2ν + α)
        ν = n w_i,   α = 0.3 + n w_i / 2,   n = 2 + softplus(out_2),   β = softplus(out_3),   γ = out_1 = pred

    softplus(u) = 10 log(1 + e^(u/10)). A normal-inverse-gamma prior with ν₀ = 0 and α₀ = 0.3 that has seen n samples; a
    weight w, such as that of `lds`, makes n samples count as n · w, and is no factor of the loss. The predictive
    variance is β / (ν (α − 1)) where α > 1. λ = 0.01 is published. β is in squared units of labels as they are learnt.

    With the features and the decoder of the paper it is variational imbalanced regression:
    `pseudo_counts + lds + vir + reconstruct`.
    """

    source: ClassVar[str] = "Wang & Wang, NeurIPS 2023, arXiv:2306.06599"
    note: ClassVar[str] = "reference code without a licence, not used here"
    outputs: int = 3
    labels: int | None = 1

    class Hparams(Declared):
        """`strength`: λ, per label unit as labels are learnt; `prior`: α₀."""

        strength: Annotated[float, Float(1e-4, 1.0, log=True)] = 0.01
        prior: Annotated[float, Float(0.01, 10.0, log=True, tune=False)] = 0.3

    hparams: Hparams

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample without weights, `[B]`, in nats."""
        return self._loss(step, 1.0)

    def weighted(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, whose weight multiplies its pseudo-count."""
        return self._loss(step, step.w)

    def _loss(self, step: Step, w: Tensor | float) -> Tensor:
        count = (2.0 + softplus(step.out[:, 1], beta=SOFT)) * w
        nu = torch.clamp(count, min=LEAST)
        alpha = self.hparams.prior + 0.5 * nu
        rate = softplus(step.out[:, 2], beta=SOFT) + LEAST
        error = step.batch.y - step.out[:, 0]
        return evidential_loss(error, nu, alpha, 2.0 * rate * (1.0 + nu), self.hparams.strength)
