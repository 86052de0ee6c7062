"""Surrogate-driven representation learning: the centres of labels cover the sphere, in even steps."""

from typing import Annotated, ClassVar, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from workloads.hparams import Declared, Float, Int
from workloads.seam import Features, Method, Step, TrainLabels

POINTS: Final = 2000
"""Uniform points on the sphere that the centres should come near to, as published."""


def envelope(points: Tensor, centres: Tensor, known: Tensor) -> Tensor:
    """1 − the mean over points `[U, d]` of the largest cosine with a known centre, `[M, d]` of length 1; a scalar."""
    alike = torch.where(known, points @ centres.T, -torch.inf)
    return 1.0 - alike.amax(1).mean()


def steps(centres: Tensor, known: Tensor) -> Tensor:
    """Σ ‖C_b − C_a‖² over the known centres `[M, d]` in order, a being the one before b; a scalar."""
    place = torch.arange(len(known), device=known.device)
    until = torch.where(known, place, -1).cummax(0).values  # the last known centre up to here
    before = torch.cat([until.new_full((1,), -1), until[:-1]])
    squares = (centres - centres.index_select(0, before.clamp(min=0))).square().sum(1)
    return torch.where(known & (before >= 0), squares, 0.0).sum()


class SRL(Method):
    """Spread the centres of labels over the sphere of features, in even steps, and draw samples to their centre.

        penalty = w₁ L_con + w₂ L_env + w₃ L_hom,   C_b = unit centre of bin b,   ẑ = e / ‖e‖,   e = P z
        L_con = −mean_i log softmax_b(ẑ_i · C_b / T)[bin_i],   C without a gradient
        L_env = 1 − mean_u max_b u · C_b   over 2,000 fixed uniform points u of the sphere
        L_hom = Σ_b ‖C_{b+1} − C_b‖²   over the bins in order

    C_b is the mean of ẑ in the batch where it has the bin, else the surrogate: the mean over the last epoch, averaged
    with the older ones by `momentum`. Bins that neither knows yet are left out. P is a linear embedding, learned at
    `rate` (0: that of the rest).

    Weights, temperature, embedding of 128 and momentum 0 are those of the published runs on ages; on scores of STS-B
    they are 1e-4, 1e-2, 1e-4 and T = 0.1. L_hom is the paper's; its code adds up +C_{b+1} · C_b, the opposite, and a
    variance. The code's multi-layer network on the centres is left out.
    """

    source: ClassVar[str] = "Dong et al., CVPR 2025, arXiv:2503.00876"
    note: ClassVar[str] = "reference code without a licence, not used here"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    dense: ClassVar[bool] = False
    batch_matters: bool = True

    class Hparams(Declared):
        """`contrast`, `envelope`, `even`: w₁, w₂, w₃; `temperature`: T."""

        contrast: Annotated[float, Float(1e-5, 1e2, log=True)] = 10.0
        envelope: Annotated[float, Float(1e-3, 1e3, log=True)] = 100.0
        even: Annotated[float, Float(1e-5, 10.0, log=True)] = 0.01
        temperature: Annotated[float, Float(0.02, 2.0, log=True, tune=False)] = 0.3
        momentum: Annotated[float, Float(0.0, 0.99, tune=False)] = 0.0
        embedding: Annotated[int, Int(2, 4096, tune=False)] = 128
        rate: Annotated[float, Float(0.0, 1.0, tune=False)] = 0.0

    hparams: Hparams
    place: Tensor
    points: Tensor
    surrogate: Tensor
    known: Tensor
    total: Tensor

    @property
    def learning_rate(self) -> float | None:
        """That of the embedding."""
        return self.hparams.rate or None

    def fit(self, train: TrainLabels) -> None:
        """Size the embedding `[d, D]` and the centres `[M, d]` of the bins that have training rows."""
        filled, width = np.flatnonzero(train.counts), self.hparams.embedding
        # A synthetic label may fall into a bin without training rows: it counts for the nearest that has some.
        place = np.searchsorted((filled[1:] + filled[:-1]) / 2, np.arange(len(train.counts)))
        self.embed = nn.Linear(train.dim, width, bias=False)
        self.register_buffer("place", torch.from_numpy(place), persistent=False)
        points = torch.randn(POINTS, width, generator=torch.Generator().manual_seed(0))
        self.register_buffer("points", normalize(points, dim=1), persistent=False)
        self.register_buffer("surrogate", torch.zeros(len(filled), width))
        self.register_buffer("known", torch.zeros(len(filled), dtype=torch.bool))
        self.register_buffer("total", torch.zeros(len(filled), width))

    def penalty(self, step: Step) -> Tensor | None:
        """The weighted sum, a scalar; None where nothing of it can be learned."""
        if not step.z.requires_grad:
            return None
        p = self.hparams
        with torch.autocast(step.z.device.type, enabled=False):
            unit = normalize(self.embed(step.z.to(self.embed.weight.dtype)), dim=1)
            place = self.place[step.batch.bin]
            sums = torch.zeros_like(self.surrogate).index_add(0, place, unit)
            here = torch.zeros_like(self.known).index_fill(0, place, True)
            self.total.add_(sums.detach())
            centres = torch.where(here.unsqueeze(1), normalize(sums, dim=1), self.surrogate)
            known = here | self.known
            logits = torch.where(known, unit @ centres.detach().T / p.temperature, -torch.inf)
            return (
                p.contrast * cross_entropy(logits, place)
                + p.envelope * envelope(self.points, centres, known)
                + p.even * steps(centres, known)
            )

    def end_epoch(self, epoch: int, features: Features) -> None:
        """Move the surrogates to the centres of the epoch that ends."""
        seen = self.total.square().sum(1) > 0
        kept = (self.hparams.momentum * self.known.to(self.total.dtype)).unsqueeze(1)
        moved = normalize(torch.lerp(normalize(self.total, dim=1), self.surrogate, kept), dim=1)
        self.surrogate.copy_(torch.where(seen.unsqueeze(1), moved, self.surrogate))
        self.known |= seen
        self.total.zero_()
