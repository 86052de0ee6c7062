"""Objectives that predict a distribution of the label: its middle and its width."""

import math
from typing import Annotated, ClassVar, Final

import torch
from torch import Tensor

from workloads.hparams import Declared, Float
from workloads.seam import Objective, Step, TrainLabels

WIDEST: Final = 6.0
"""Bound on |log(scale / standard deviation of the training labels)|: a factor of 400 on either side."""


class LaplaceNLL(Objective):
    """Negative log-likelihood of a Laplace distribution: an absolute error whose scale is predicted for every sample.

        loss_i = log(2 b_i) + |y_i − pred_i| / b_i,   b = s_y · exp(6 tanh(out_2 / 6))

    out_1 is the prediction. The scale starts near s_y, the standard deviation of the training labels, and stays within
    a factor of e⁶ of it (ours): published code bounds log b, so that beyond the bounds it has no gradient to come back.
    """

    source: ClassVar[str] = "Kendall & Gal, NeurIPS 2017, arXiv:1703.04977, with the Laplace likelihood"
    outputs: int = 2
    labels: int | None = 1
    log_deviation: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Keep the logarithm of the training labels' standard deviation."""
        deviation = float(train.y.double().std(correction=0)) or train.grid.width  # labels may all be equal
        self.register_buffer("log_deviation", torch.tensor(math.log(deviation)))

    def log_scale(self, out: Tensor) -> Tensor:
        """Logarithm of the scale of every sample, `[B]`, from `out` `[B, 2]`."""
        return self.log_deviation + WIDEST * (out[:, 1] / WIDEST).tanh()

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in nats."""
        log_scale = self.log_scale(step.out)
        return math.log(2.0) + log_scale + (step.batch.y - step.pred).abs() * (-log_scale).exp()


class GaussianNLL(LaplaceNLL):
    """Negative log-likelihood of a normal distribution: a squared error whose variance is predicted for every sample.

        loss_i = log σ_i + (y_i − pred_i)² / 2σ_i² + ½ log 2π,   σ = s_y · exp(6 tanh(out_2 / 6))

    out_1 is the prediction. The scale starts near s_y, the standard deviation of the training labels, and stays within
    a factor of e⁶ of it (ours).
    """

    source: ClassVar[str] = "Nix & Weigend, ICNN 1994"

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in nats."""
        log_scale = self.log_scale(step.out)
        squares = (step.batch.y - step.pred).square()
        return 0.5 * math.log(2.0 * math.pi) + log_scale + 0.5 * squares * (-2.0 * log_scale).exp()


class BetaNLL(GaussianNLL):
    """Gaussian negative log-likelihood in which samples of a large variance keep their say.

        loss_i = ⌊σ_i^2β⌋ · (log σ_i + (y_i − pred_i)² / 2σ_i² + ½ log 2π),   ⌊·⌋ without a gradient

    Plain likelihood (β = 0) scales the gradient of the prediction by 1 / σ², so that samples which are badly predicted
    at first, often the rare ones, are given a large variance and left alone. β = 1 is a squared error for the
    prediction. Published is β = ½. σ is in units of s_y inside ⌊·⌋ (ours), so that the loss keeps its scale.
    """

    source: ClassVar[str] = "Seitzer et al., ICLR 2022, arXiv:2203.09168"

    class Hparams(Declared):
        """`beta`: 0 leaves the likelihood."""

        beta: Annotated[float, Float(0.0, 1.0)] = 0.5

    hparams: Hparams

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`."""
        factor = (2.0 * self.hparams.beta * (self.log_scale(step.out) - self.log_deviation)).exp().detach()
        return factor * super().forward(step)
