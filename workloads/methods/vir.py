"""Variational features: a sample's features are a distribution that is smoothed over neighbouring labels."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from workloads.hparams import Choice, Declared, Float, Int, Only
from workloads.labels import kernel_window
from workloads.methods.bins import bin_of
from workloads.seam import Batch, Features, Method, TrainLabels
from workloads.windows import reflected, smoothed


def bin_moments(mean: Tensor, var: Tensor, bins: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Count `[M]`, and mean, variance of the mean and spread `[M, D]` of features `[N, D]` with variances `[N, D]`.

        m_b = mean μ_i,   v_b = Σ σ²_i / n²,   s_b = mean( σ²_i − v_b + (μ_i − m_b)² )

    The last is mean(σ² − v + μ² − m²), around the mean so that it keeps its digits. Empty bins hold 0.
    """
    zeros = mean.new_zeros(count, mean.shape[1])
    held = mean.new_zeros(count).index_add_(0, bins, mean.new_ones(len(bins)))
    n = held.clamp(min=1).unsqueeze(1)
    centre = zeros.index_add(0, bins, mean) / n
    noise = zeros.index_add(0, bins, var) / n.square()
    around = zeros.index_add(0, bins, var + (mean - centre[bins]).square()) / n
    return held, centre, noise, (around - noise) * (held > 0).unsqueeze(1)


class VIR(Method):
    """Take features for distributions, smooth these over neighbouring label bins, and draw from them in training.

        z = μ_i = W e + c (e: the encoder's features),   σ²_i = softplus(V z + d)
        h = (z − m_b) r + m̃_b + √((σ²_i + v_b) r + ṽ_b) ε,   r = √clip(s̃_b / s_b, 0.1, 10),   ε ~ N(0, 1)
        m_b = mean μ_i,   v_b = Σ σ²_i / n_b²,   s_b = mean(σ²_i − v_b + μ_i² − m_b²)   over the training rows of bin b

    m̃, ṽ, s̃ are windows over the bins of running averages over epochs, as in `fds`; in the first epoch nothing is moved.
    In evaluation features are their means, z. W starts as the identity (ours), so that training starts as without it.
    Statistics are those of a pass in evaluation mode; bins without rows drop out of the window, and a bin of one row,
    whose s is 0, is moved but not scaled (ours).

    With its head and its decoder, `pseudo_counts + lds + vir + reconstruct`, it is the paper's model; without the last
    where rows of inputs are too large for a small decoder, or words.
    """

    source: ClassVar[str] = "Wang & Wang, NeurIPS 2023, arXiv:2306.06599"
    note: ClassVar[str] = "reference code without a licence, not used here"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    dense: ClassVar[bool] = False

    class Hparams(Declared):
        """Window over the bins, and running average; `width`, `sigma` in bins. As published."""

        kernel: Annotated[str, Choice("gaussian", "triang", "laplace")] = "gaussian"
        width: Annotated[int, Int(3, 15, step=2)] = 5
        sigma: Annotated[float, Float(0.5, 4.0, log=True), Only(kernel=("gaussian", "laplace"))] = 2.0
        momentum: Annotated[float, Float(0.0, 0.99)] = 0.9
        clip_low: Annotated[float, Float(0.0, 1.0, tune=False)] = 0.1
        clip_high: Annotated[float, Float(1.0, 1e6, tune=False)] = 10.0

    hparams: Hparams
    edges: Tensor
    places: Tensor
    seen: Tensor
    mean: Tensor
    noise: Tensor
    spread: Tensor
    ratio: Tensor
    shift: Tensor
    extra: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Size the maps `[D, D]` and the statistics `[M, D]`, which move nothing at first."""
        p, size = self.hparams, (train.grid.bins, train.dim)
        self.centre, self.scatter = nn.Linear(train.dim, train.dim), nn.Linear(train.dim, train.dim)
        nn.init.eye_(self.centre.weight)
        nn.init.zeros_(self.centre.bias)
        self.window: list[float] = kernel_window(p.kernel, p.width, p.sigma, normalize="sum").tolist()
        self.register_buffer("edges", torch.from_numpy(train.grid.edges))
        self.register_buffer("places", reflected(train.grid.bins, p.width), persistent=False)
        self.register_buffer("seen", torch.zeros(train.grid.bins, dtype=torch.bool))
        for name in ("mean", "noise", "spread", "shift", "extra"):
            self.register_buffer(name, torch.zeros(size))
        self.register_buffer("ratio", torch.ones(size))

    def map(self, z: Tensor) -> Tensor:
        """Means of the features, `[…, D]`."""
        with torch.autocast(z.device.type, enabled=False):
            made: Tensor = self.centre(z.to(self.centre.weight.dtype))
        return made

    def variance(self, z: Tensor) -> Tensor:
        """Variances of the features `[B, D]` from their means."""
        with torch.autocast(z.device.type, enabled=False):
            return softplus(self.scatter(z.to(self.scatter.weight.dtype)))

    def calibrate(self, z: Tensor, batch: Batch) -> Tensor:
        """A draw of the smoothed distribution of every sample, `[B, D]`."""
        ratio = self.ratio[batch.bin]
        var = torch.addcmul(self.extra[batch.bin], self.variance(z), ratio)
        noise = torch.randn(z.shape, device=z.device, dtype=z.dtype, generator=self.generator)
        return torch.addcmul(self.shift[batch.bin], z, ratio) + var.sqrt() * noise

    def end_epoch(self, epoch: int, features: Features) -> None:
        """Update the statistics and the map for the next epoch."""
        z, labels = features()
        self.update(z.to(self.mean.dtype), labels)

    @torch.no_grad()
    def update(self, z: Tensor, labels: Tensor) -> None:
        """Fold means of features `[N, D]` with labels `[N]` into the statistics."""
        p, bins = self.hparams, bin_of(labels, self.edges)
        held, *fresh = bin_moments(z, self.variance(z), bins, len(self.seen))
        present = held > 0
        kept = (p.momentum * self.seen.to(z.dtype)).unsqueeze(1)
        for own, new in zip((self.mean, self.noise, self.spread), fresh, strict=True):
            own.copy_(torch.where(present.unsqueeze(1), torch.lerp(new, own, kept), own))
        self.seen |= present
        mean, noise, spread = (
            smoothed(own, self.seen, self.window, self.places) for own in (self.mean, self.noise, self.spread)
        )
        share = spread / self.spread.clamp(min=torch.finfo(spread.dtype).tiny)
        ratio = torch.where(self.spread > 0, share.clamp(p.clip_low, p.clip_high), 1.0).sqrt()
        self.ratio.copy_(ratio)
        self.shift.copy_(mean - self.mean * ratio)
        self.extra.copy_(self.noise * ratio + noise)
