"""Deep evidential regression."""

import math
from typing import Annotated, ClassVar, Final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from workloads.hparams import Declared, Float
from workloads.seam import Objective, Step, TrainLabels

LEAST: Final = 1e-6
"""Floor of what must be positive (ours): a softplus far below 0 is rounded to 0."""


def evidential_loss(error: Tensor, nu: Tensor, alpha: Tensor, omega: Tensor, strength: float) -> Tensor:
    """Negative log likelihood of labels under a normal-inverse-gamma prior, and what errors cost with evidence, `[B]`.

        ½ log(π/ν) − α log Ω + (α + ½) log(ν e² + Ω) + log Γ(α) − log Γ(α + ½)  +  λ |e| (2ν + α)

    e is the error of the mean, Ω = 2β(1 + ν), λ = `strength`.
    """
    likelihood = (
        0.5 * (math.log(math.pi) - nu.log())
        - alpha * omega.log()
        + (alpha + 0.5) * (nu * error.square() + omega).log()
        + alpha.lgamma()
        - (alpha + 0.5).lgamma()
    )
    return likelihood + strength * error.abs() * (2.0 * nu + alpha)


class Evidential(Objective):
    """Likelihood of a label whose mean and variance have a prior of their own, which is predicted for every sample.

        loss_i = ½ log(π/ν) − α log Ω + (α + ½) log(ν (y − γ)² + Ω) + log Γ(α) − log Γ(α + ½)  +  λ |y − γ| (2ν + α)
        Ω = 2β(1 + ν),   γ = out_1 = pred,   ν = softplus(out_2),   α = 1 + softplus(out_3),   β = s_y² softplus(out_4)

    A normal-inverse-gamma prior gives a Student t distribution; ν and α count the evidence for it. The last term takes
    evidence away where the prediction is wrong. λ = 0.01 is the paper's. s_y, the standard deviation of the training
    labels, is ours: the loss starts near the width of the labels, whatever their unit.
    """

    source: ClassVar[str] = "Amini et al., NeurIPS 2020, arXiv:1910.02600"
    outputs: int = 4
    labels: int | None = 1
    variance: Tensor

    class Hparams(Declared):
        """`strength`: λ, per label unit as labels are learnt."""

        strength: Annotated[float, Float(1e-4, 1.0, log=True)] = 0.01

    hparams: Hparams

    def fit(self, train: TrainLabels) -> None:
        """Keep the variance of the training labels."""
        variance = float(train.y.double().var(correction=0)) or train.grid.width**2  # labels may all be equal
        self.register_buffer("variance", torch.tensor(variance))

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in nats."""
        nu, shape, rate = (softplus(step.out[:, column]) + LEAST for column in (1, 2, 3))
        error = step.batch.y - step.out[:, 0]
        return evidential_loss(error, nu, shape + 1.0, 2.0 * self.variance * rate * (1.0 + nu), self.hparams.strength)
