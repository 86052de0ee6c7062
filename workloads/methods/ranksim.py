"""Ranking similarity regularisation."""

from typing import Annotated, Any, ClassVar, cast

import torch
from torch import Tensor
from torch.nn.functional import normalize

from workloads.hparams import Choice, Declared, Float
from workloads.seam import Method, Step


def ranks(scores: Tensor) -> Tensor:
    """Position of every score in its row, from the largest, divided by the length: `[A, m]` in {1/m, …, 1}.

    Of equal scores the later one ranks higher, as in the published code with a stable sort.
    """
    m = scores.shape[1]
    order = scores.argsort(dim=1, stable=True)
    places = torch.arange(m, 0, -1, device=scores.device, dtype=scores.dtype) / m
    return torch.empty_like(scores).scatter_(1, order, places.expand_as(scores))


class _RankLoss(torch.autograd.Function):
    """Σ_anchors mean (rank(z zᵀ) − target)², with the blackbox gradient of the rank."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, target: Tensor, strength: float, weight: float | None) -> Tensor:
        scores = z @ z.T
        rank = ranks(scores)
        ctx.save_for_backward(z, scores, rank, target)
        ctx.strength, ctx.weight = strength, weight
        return (rank - target).square().mean(1).sum() * (1.0 if weight is None else weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        z, scores, rank, target = ctx.saved_tensors
        upstream = (grad if ctx.weight is None else ctx.weight) * 2.0 * (rank - target) / rank.shape[1]
        slope = (ranks(scores + ctx.strength * upstream) - rank) / (ctx.strength + 1e-8)
        slope = slope if ctx.weight is None else slope * grad
        return (slope + slope.T) @ z, None, None, None  # one product, where autograd would make two


def one_per_label(labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Rows of one random sample of every distinct label, in the order of the labels: `[m]`."""
    draw = torch.rand(len(labels), device=labels.device, generator=generator).argsort()
    by_label = draw[labels[draw].argsort(stable=True)]
    ordered = labels[by_label]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    # Synchronises: the number m of distinct labels decides the size of all that follows. Fixed-size tensors with a
    # mask would not, but sort B × B scores instead of m × m, 16 times as many at B = 256 and m = 64.
    return by_label[first]


def ranksim_loss(
    features: Tensor,
    labels: Tensor,
    strength: float,
    generator: torch.Generator | None = None,
    weight: float | None = None,
) -> Tensor:
    """How much the ranking of the samples differs between feature space and label space; a scalar.

        Σ_i mean_j ( rank(cos(z_i, z_j)) − rank(−|y_i − y_j|) )²

    over one random sample per distinct label; `features` `[B, D]`, `labels` `[B]`. A *sum* over anchors i, so it grows
    with the number m of distinct labels, to about m/6 by chance. Ranks are divided by m and have the blackbox gradient
    −(rank(v) − rank(v + λ g)) / λ of Vlastelica et al., ICLR 2020, with λ = `strength` and g the upstream gradient.

    `weight` multiplies the loss and takes the place of the upstream gradient inside the rank. Then the gradient is
    linear in what comes from above, and a loss scaler (fp16) does not change it.

    Source: Gong et al., ICML 2022, arXiv:2205.15236.
    """
    rows = one_per_label(labels, generator)
    y = labels[rows]
    z = features.index_select(0, rows)  # its gradient is cheaper than that of [rows]
    z = normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
    target = ranks(-(y[:, None] - y[None, :]).abs().to(z.dtype))
    # Similarities of nearby labels differ by less than half precision can tell, and ranks are all that is looked at.
    with torch.autocast(z.device.type, enabled=False):
        return cast(Tensor, _RankLoss.apply(z, target, strength, weight))  # type: ignore[no-untyped-call]  # torch


class RankSim(Method):
    """Ask that samples rank one another in feature space as they do in label space.

        penalty = weight · Σ_i mean_j ( rank(cos(z_i, z_j)) − rank(−|y_i − y_j|) )²

    Acts on the encoding z; the published code under FDS sees the calibrated one, `features = h`. One random sample per
    distinct label is drawn from the method's own stream (published: Python's global one). All anchors are done in one
    sort, which gives the numbers of the published loop over anchors.

    Labels y ± d are equally far from y, often so where labels are whole numbers. Here the larger one ranks closer,
    always: samples are sorted by label, stably. The published code keeps the batch's order where all labels differ, and
    its sort of equal values is not stable, so that its runs do not repeat: the loss then differs by 0.1 % (33 labels
    and more) to 5 % (2 labels).

    Defaults are the published ones for ages. For STS-B, with scores divided by 5, they are 3e-4 and λ = 2: under a
    squared error of scores from 0 to 5 the equal setting is 0.0075 and 0.08, since λ counts in the loss.

    The method is subject of a US patent application (2023/0214651) and its reference code is non-commercial; this is
    written from the paper.
    """

    source: ClassVar[str] = "Gong et al., ICML 2022, arXiv:2205.15236"
    note: ClassVar[str] = "US patent application 2023/0214651; reference code CC BY-NC-SA 4.0, not used here"
    dense: ClassVar[bool] = False
    batch_matters: bool = True

    class Hparams(Declared):
        """`weight` is per unit of the objective's loss, of labels as they are learnt (in bins, or label units).

        The ranking loss has no unit, so where labels are learnt in bins `weight` does not depend on the label's unit.
        `strength` is the interpolation λ of the blackbox gradient, not a loss weight.
        """

        weight: Annotated[float, Float(1e-4, 1e3, log=True)] = 100.0
        strength: Annotated[float, Float(0.01, 10.0, log=True)] = 2.0
        features: Annotated[str, Choice("z", "h", tune=False)] = "z"

    hparams: Hparams

    def penalty(self, step: Step) -> Tensor:
        """The weighted ranking loss, a scalar."""
        p = self.hparams
        features = (step.z if p.features == "z" else step.h).flatten(1)
        return ranksim_loss(features, step.batch.y, p.strength, self.generator, p.weight)
