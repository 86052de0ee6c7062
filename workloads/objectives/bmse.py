"""Balanced MSE."""

import math
from collections.abc import Callable
from typing import Annotated, ClassVar, Final

import numpy as np
import torch
from torch import Tensor, nn

from workloads.hparams import Choice, Declared, Float, Int, Only
from workloads.labels import Floats, heaps
from workloads.seam import Batch, Objective, Step, TrainLabels


def gaussian_mixture(values: Floats, components: int, steps: int = 200) -> tuple[Floats, Floats, Floats]:
    """Shares, means and variances `[K]` of a Gaussian mixture fitted to values `[N]` by expectation-maximisation.

    Starts from quantiles, so that no draw decides the result; a variance floor of 1e-4 of the data's keeps a component
    from collapsing onto one value.
    """
    points, counts = heaps(values)
    mean = np.quantile(values, (np.arange(components) + 0.5) / components)
    spread = max(float(values.var()), 1e-12)
    var = np.full(components, spread / components**2)
    share = np.full(components, 1.0 / components)
    for _ in range(steps):
        log = np.log(share) - 0.5 * (np.log(2 * math.pi * var) + (points[:, None] - mean) ** 2 / var)
        weight = np.exp(log - log.max(1, keepdims=True))
        weight *= (counts / weight.sum(1))[:, None]
        mass = weight.sum(0) + 1e-12
        mean = weight.T @ points / mass
        var = np.maximum((weight * (points[:, None] - mean) ** 2).sum(0) / mass, 1e-4 * spread)
        share = mass / mass.sum()
    return share, mean, var


class BalancedMSE(Objective):
    """Squared error that undoes the imbalance of the training labels: the likelihood under p_train of a balanced model.

        loss_i = 2σ² · ( (y_i − pred_i)² / 2σ² + log Σ_k p_k exp(−(c_k − pred_i)² / 2σ²) )

    `bmc`: c = the labels of the batch; `bni`: the bins, each at the mean of its training labels (whole ages lie at the
    lower ends of their bins, not in the middle), with their shares p of the training set; `gai`: the
    integral over a Gaussian mixture of the training labels, log Σ_k p_k N(pred_i; μ_k, σ_k² + σ²), in closed form. The
    factor 2σ² (detached) keeps the scale of a squared error.

    The noise σ starts at the published 10 (years) and is learned, as in the paper, here on a log scale and by default
    with the learning rate of the rest (published: its own, `rate = 0.01`). Weight decay leaves it alone. For NYUD2 the
    published σ is 1 m and fixed, `learn = false`.

    Where labels are maps, `bmc` takes the labels of a batch by bins, each at the mean of the labels it holds: B²
    numbers do not fit for pixels.

    The published numbers for IMDB-WIKI are of a second stage on a backbone that was trained with L1: 10 epochs at a
    rate of 1e-4. That is `bmse + two_stages` with `two_stages.first: l1`, `trains: head` and `lr: 1e-4`.
    """

    source: ClassVar[str] = "Ren et al., CVPR 2022, arXiv:2203.16427, Sec. 3"
    note: ClassVar[str] = "reference code MIT"
    version: ClassVar[int] = 2  # 2: bins lie at the mean of their labels, and weight decay does not pull at the noise

    class Hparams(Declared):
        """`noise` in label units, learned at `rate` (0: that of the rest); `components` of the mixture (ours)."""

        variant: Annotated[str, Choice("bmc", "gai", "bni")] = "bmc"
        noise: Annotated[float, Float(0.05, 50.0, log=True)] = 10.0
        learn: Annotated[bool, Choice(True, False, tune=False)] = True
        rate: Annotated[float, Float(0.0, 1.0, tune=False), Only(learn=(True,))] = 0.0
        components: Annotated[int, Int(1, 64, tune=False), Only(variant=("gai",))] = 8

    hparams: Hparams
    log_noise: Tensor
    size: Tensor
    log_share: Tensor
    centres: Tensor
    variances: Tensor

    def __init__(self, hparams: Declared) -> None:
        super().__init__(hparams)
        self.batch_matters = self.hparams.variant == "bmc"
        start = torch.tensor(math.log(self.hparams.noise))
        if self.hparams.learn:
            self.log_noise = nn.Parameter(start)
        else:
            self.register_buffer("log_noise", start)

    @property
    def learning_rate(self) -> float | None:
        """That of the noise."""
        return self.hparams.rate or None

    def fit(self, train: TrainLabels) -> None:
        """Keep the distribution of the training labels as the variant describes it; `bmc` needs none."""
        self.by_bins = train.pixels is not None
        if self.by_bins:
            self.register_buffer("size", torch.zeros(train.grid.bins))
        if self.hparams.variant == "gai":
            values = np.asarray(train.y.numpy(), dtype=np.float64).ravel()
            share, centres, variances = gaussian_mixture(values, self.hparams.components)
        elif self.hparams.variant == "bni":
            filled = train.counts > 0
            share, centres = train.counts[filled] / train.counts.sum(), _middles(train)[filled]
            variances = np.zeros(len(centres))
        else:
            return
        self.register_buffer("log_share", torch.from_numpy(np.log(share)).float())
        self.register_buffer("centres", torch.from_numpy(centres).float())
        self.register_buffer("variances", torch.from_numpy(variances).float())

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in squared label units; it may be negative."""
        noise = (2.0 * self.log_noise).exp()
        pred, y = step.pred, step.batch.y
        balance = VARIANTS[self.hparams.variant](self, pred.unsqueeze(-1), step.batch, noise)
        return 2.0 * noise.detach() * ((y - pred).square() / (2.0 * noise) + balance)

    def _bmc(self, pred: Tensor, batch: Batch, noise: Tensor) -> Tensor:
        if self.by_bins:
            held = torch.zeros_like(self.size).index_add_(0, batch.bin, torch.ones_like(batch.y))
            middle = torch.zeros_like(self.size).index_add_(0, batch.bin, batch.y) / held.clamp(min=1.0)
            return (held.log() - (pred - middle).square() / (2.0 * noise)).logsumexp(-1)
        return (-(pred - batch.y.flatten()).square() / (2.0 * noise)).logsumexp(-1)

    def _mixture(self, pred: Tensor, batch: Batch, noise: Tensor) -> Tensor:
        total = self.variances + noise
        log = self.log_share - (pred - self.centres).square() / (2.0 * total)
        return (log - 0.5 * (total / noise).log()).logsumexp(-1)


def _middles(train: TrainLabels) -> Floats:
    """Mean of the training labels in every bin, `[M]`; the middle of a bin that holds none (of maps: no scored one)."""
    labels = np.asarray(train.y.numpy(), dtype=np.float64).ravel()
    held = np.bincount(train.bins.ravel(), minlength=train.grid.bins)
    sums = np.bincount(train.bins.ravel(), weights=labels, minlength=train.grid.bins)
    return np.where(held > 0, sums / np.maximum(held, 1), train.grid.centres)


VARIANTS: Final[dict[str, Callable[[BalancedMSE, Tensor, Batch, Tensor], Tensor]]] = {
    "bmc": BalancedMSE._bmc,
    "gai": BalancedMSE._mixture,
    "bni": BalancedMSE._mixture,
}
"""log of the balancing sum, `[B]`; bins are a mixture whose components have no width of their own."""
