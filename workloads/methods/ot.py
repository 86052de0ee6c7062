"""Optimal-transport re-weighting."""

import math
from typing import Annotated, ClassVar, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from workloads.hparams import Choice, Declared, Float, Int, Only
from workloads.labels import Floats, Ints
from workloads.seam import Features, Method, Step, TrainLabels

OVER: Final = 1.6
"""How far a step goes, as a multiple of a plain one: 1.6 needs a fifth of the steps at ε = 0.01."""
PLAIN: Final = 5
"""Plain steps at the start and at the end: over-relaxed ones only pay near the solution, and leave it rough."""


def steps_for(epsilon: float) -> int:
    """Steps after which `sinkhorn` has the potential to 0.1 % for costs of at most about 1: 20 + 2/ε, rounded up."""
    return math.ceil(20 + 2 / epsilon)


def sinkhorn(cost: Tensor, source: Tensor, target: Tensor, epsilon: float, steps: int = 0) -> tuple[Tensor, Tensor]:
    """Entropic optimal transport in the log domain: the plan `[n, m]` and the potential `[n]` of the source.

        plan = argmin ⟨plan, cost⟩ + ε Σ plan (log plan − 1),   rows add up to source, columns to target

    `cost` `[n, m]`, `source` `[n]`, `target` `[m]`, both with sum 1. The potential is the gradient of the optimal value
    with respect to the source, up to a constant. As many steps as ε needs (`steps_for`), unless told: asking for
    convergence would wait for the device each time. Over-relaxed, so that a fifth of the plain steps suffices.

    Source: Cuturi, NeurIPS 2013, in the log domain as in Peyré & Cuturi 2019, Sec. 4.4; over-relaxation as in Thibault
    et al., Algorithms 14(5), 2021, arXiv:1711.01851.
    """
    log_source, log_target = source.log(), target.log()
    f, g = torch.zeros_like(source), torch.zeros_like(target)
    steps = steps or steps_for(epsilon)
    for step in range(steps):
        omega = OVER if PLAIN <= step < steps - PLAIN else 1.0
        f = torch.lerp(f, epsilon * (log_source - ((g - cost) / epsilon).logsumexp(1)), omega)
        g = torch.lerp(g, epsilon * (log_target - ((f[:, None] - cost) / epsilon).logsumexp(0)), omega)
    return ((f[:, None] + g - cost) / epsilon).exp(), f


def nearest_shares(values: Floats, low: float, high: float) -> Floats:
    """Shares `[N]` that bring values `[N]` closest to the uniform distribution on [low, high], by sorting.

        min over w of W_p(Σ w_i δ(y_i), U[low, high])

    Every point of the target goes to its nearest value, whatever p, so a value's share is the length of its cell; equal
    values divide it.
    """
    points, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.concatenate([[low], (points[1:] + points[:-1]) / 2, [high]]).clip(low, high)
    return np.asarray((np.diff(ends) / counts)[group] / (high - low))


COSTS: Final = {"label": (1.0, 0.0), "feature": (0.0, 1.0), "combined": (0.5, 0.5)}
"""Shares of the label cost and the feature cost."""


class OT(Method):
    """Learn weights of the training samples that bring them closest to a balanced set, in the sense of transport.

        w ∝ exp(logits),   logits_i ← logits_i − lr · (f_i − Σ_j a_j f_j),   a = softmax(logits of the batch)

    f_i = ∂/∂a_i OT_ε(a, uniform over the set), the dual potential: a step of exponentiated gradient.

    Cost between sample i and point j of the balanced set, `combined` half and half: label |y_i − y_j| / (highest −
    lowest bin), or 2/P between different bins (classes); feature 1 − cos(z_i, z_j). The set is one prototype per bin
    that has training rows, the mean of its features (`meta = 0`), or `meta` rows of every bin. Features of the set come
    from the pass at the end of an epoch; before the first they cost the same for all.

    `solver = closed` needs no features, steps or learning: in one dimension every point of the target goes to its
    nearest label, and weights are the lengths of the cells.

    Differences from the published code, which is for classification: weights are normalised over the training set
    (published: the buffer's raw values); prototypes are means of features, not of pixels; the gradient is that of the
    regularised optimum (published: of ⟨plan, cost⟩ through the unrolled iterations, which points elsewhere: the cosine
    between the two is 0.86 on average, 0.70 and more in 20 random batches of 16); the step multiplies weights, so that
    its size depends neither on the batch size nor on the weight; the loss on the balanced set, 10 times its mean, is
    left out.
    """

    source: ClassVar[str] = "Guo et al., NeurIPS 2022, arXiv:2208.02951"
    note: ClassVar[str] = "reference code without a licence, not used here"
    joins: ClassVar[int] = 1
    dense: ClassVar[bool] = False
    slot: ClassVar[str | None] = "density"

    class Hparams(Declared):
        """`epsilon` in units of the cost (the published 0.1); `lr`, `steps` and `meta` are ours; `beta` published.

        `steps = 0` takes 20 + 2/ε steps, with which the potential is exact to 0.1 % for every cost and every ε that is
        searched (220 steps at 0.01; measured on AgeDB, B = 16 … 256). Fewer are faster and less exact.
        """

        solver: Annotated[str, Choice("sinkhorn", "closed")] = "sinkhorn"
        cost: Annotated[str, Choice(*COSTS), Only(solver=("sinkhorn",))] = "combined"
        label_cost: Annotated[str, Choice("distance", "class", tune=False), Only(solver=("sinkhorn",))] = "distance"
        epsilon: Annotated[float, Float(0.01, 1.0, log=True), Only(solver=("sinkhorn",))] = 0.1
        lr: Annotated[float, Float(1e-2, 1.0, log=True), Only(solver=("sinkhorn",))] = 0.5
        beta: Annotated[float, Float(0.0, 0.99999, tune=False), Only(solver=("sinkhorn",))] = 0.9999
        steps: Annotated[int, Int(0, 1000, tune=False), Only(solver=("sinkhorn",))] = 0
        meta: Annotated[int, Int(0, 100, tune=False), Only(solver=("sinkhorn",))] = 0

    @classmethod
    def version_of(cls, hparams: Declared) -> int:
        """2 with steps of Sinkhorn, which used to be plain and 20; the closed form gives the numbers of 1."""
        assert isinstance(hparams, OT.Hparams)
        return 2 if hparams.solver == "sinkhorn" else cls.version

    hparams: Hparams
    logits: Tensor
    log_mean: Tensor
    points: Tensor
    point_bins: Tensor
    mass: Tensor
    rows: Tensor
    owner: Tensor
    size: Tensor
    prototypes: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Start from class-balanced weights `[N]`, or the closed form, and choose the balanced set of P points."""
        p = self.hparams
        self.batch_matters = p.solver == "sinkhorn"  # a step on the logits of a batch, as a distribution
        bins, counts = train.bins, train.counts
        filled = np.flatnonzero(counts)
        centres = train.grid.centres
        if p.solver == "closed":
            half = train.grid.width / 2
            labels = np.asarray(train.y.numpy(), dtype=np.float64)
            low, high = centres[filled[0]] - half, centres[filled[-1]] + half
            weights = nearest_shares(labels, low, high)
        else:
            weights = ((1.0 - p.beta) / (1.0 - p.beta ** counts.clip(1)))[bins]
        self.register_buffer("logits", torch.from_numpy(np.log(weights.clip(1e-12))).float())
        self.register_buffer("log_mean", self.logits.logsumexp(0) - math.log(len(bins)))
        if p.solver == "closed":
            return
        # The rows of the set: all of a bin average to its prototype, or `meta` evenly spaced ones stand for themselves.
        rows = np.concatenate([np.flatnonzero(bins == b)[_spaced(counts[b], p.meta)] for b in filled])
        owner = np.arange(len(rows)) if p.meta else np.searchsorted(filled, bins[rows])
        size = np.bincount(owner)
        held = np.bincount(bins[rows], minlength=len(counts))  # rows of the set in each bin
        mass = np.bincount(owner, weights=1.0 / held[bins[rows]]) / len(filled)
        self.span = max(float(centres[filled[-1]] - centres[filled[0]]), train.grid.width)
        self.register_buffer("rows", torch.from_numpy(rows))
        self.register_buffer("owner", torch.from_numpy(owner))
        self.register_buffer("size", torch.from_numpy(size).float())
        self.register_buffer("mass", torch.from_numpy(mass).float())
        points = np.bincount(owner, weights=train.y.numpy()[rows]) / size
        self.register_buffer("points", torch.from_numpy(points).float())
        self.register_buffer("point_bins", torch.from_numpy(np.unique(np.stack([owner, bins[rows]]), axis=1)[1]))
        self.register_buffer("prototypes", torch.zeros(len(points), train.dim))

    def weigh(self, step: Step) -> Tensor:
        """Take a step on the logits of the batch, and give the weights, `[B]`."""
        rows = step.batch.index
        if self.hparams.solver == "sinkhorn":
            with torch.no_grad():
                self._learn(step, rows)
        return (self.logits[rows] - self.log_mean).exp()

    def end_epoch(self, epoch: int, features: Features) -> None:
        """Encode the balanced set, and scale the weights back to mean 1 over the training set."""
        self.log_mean.copy_(self.logits.logsumexp(0) - math.log(len(self.logits)))
        if self.hparams.solver == "sinkhorn" and self.hparams.cost != "label":
            z = features()[0].flatten(1)[self.rows].float()
            self.prototypes.zero_().index_add_(0, self.owner, z).div_(self.size.unsqueeze(1))

    def cost(self, z: Tensor, y: Tensor, bins: Tensor) -> Tensor:
        """Cost `[B, P]` between samples and the balanced set."""
        p = self.hparams
        label, feature = COSTS[p.cost]
        by_label = (
            (bins[:, None] != self.point_bins) * (2.0 / len(self.mass))
            if p.label_cost == "class"
            else (y[:, None] - self.points).abs() / self.span
        )
        alike = normalize(z.float(), dim=1) @ normalize(self.prototypes, dim=1).T
        return label * by_label + feature * (1.0 - alike)

    def _learn(self, step: Step, rows: Tensor) -> None:
        p = self.hparams
        share = self.logits[rows].softmax(0)
        cost = self.cost(step.z.flatten(1), step.batch.y, step.batch.bin)
        potential = sinkhorn(cost, share, self.mass, p.epsilon, p.steps)[1]
        # A row may stand in the batch twice (synthetic samples): its steps add up.
        self.logits.index_add_(0, rows, potential - share @ potential, alpha=-p.lr)


def _spaced(count: int, wanted: int) -> Ints:
    """Places of at most `wanted` evenly spaced rows of `count`; 0 wants all."""
    kept = min(count, wanted) if wanted else count
    return np.arange(kept) * count // kept
