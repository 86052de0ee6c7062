"""Regression by classification: a histogram of the label is predicted, and its mean is the prediction."""

from typing import Annotated, ClassVar, Final

import numpy as np
import torch
from torch import Tensor
from torch.special import ndtr

from workloads.hparams import Declared, Float, Int
from workloads.labels import heaps
from workloads.seam import Objective, Step, TrainLabels

REACH: Final = 3.0
"""Standard deviations of the target by which the classes reach beyond the training labels."""

PART: Final = 1024
"""Labels whose soft targets are added up at a time."""


def soft_targets(y: Tensor, edges: Tensor, sigma: float) -> Tensor:
    """Mass `[B, M]` of a normal distribution around labels `[B]` between neighbouring edges `[M + 1]`, with sum 1.

        p_k = [Φ((e_{k+1} − y)/σ) − Φ((e_k − y)/σ)] / [Φ((e_M − y)/σ) − Φ((e_0 − y)/σ)]

    `sigma` is in label units. A label beyond the edges counts as lying on the outermost.
    """
    inside = y.clamp(edges[0], edges[-1]).unsqueeze(-1)
    mass = ndtr((edges - inside) / sigma)
    shares: Tensor = mass.diff(dim=-1) / (mass[..., -1:] - mass[..., :1])
    return shares


class HLGauss(Objective):
    """Cross-entropy between a predicted histogram of the label and a normal distribution around it.

        loss_i = −Σ_k p_k(y_i) log softmax(out)_k,   pred = Σ_k softmax(out)_k c_k
        p_k(y) = mass of N(y, σ²) in class k, with sum 1

    The classes are equal cells from the least training label to the largest and 3σ beyond, c_k their centres, so that
    the mean of p(y) is y at the ends too (ours: the published ranges are set by hand). σ is in widths of a class; 0.75
    spreads a label over about six classes, as in the paper of 2024, and a small σ is plain classification. The number
    of classes is not that of the label grid, which is for weights and shot regions. The prediction has a gradient, so
    methods that act on it can be added.
    """

    source: ClassVar[str] = (
        "Imani & White, ICML 2018, arXiv:1806.04613; σ of Farebrother et al., 2024, arXiv:2403.03950"
    )
    labels: int | None = 0
    edges: Tensor
    centres: Tensor

    class Hparams(Declared):
        """`classes`: M; `sigma` in widths of a class."""

        classes: Annotated[int, Int(10, 500, log=True)] = 100
        sigma: Annotated[float, Float(0.1, 4.0, log=True)] = 0.75

    hparams: Hparams

    def fit(self, train: TrainLabels) -> None:
        """Lay the classes over the training labels, `[M + 1]` edges."""
        p = self.hparams
        self.outputs = p.classes
        least, most = float(train.y.min()), float(train.y.max())
        # M classes of width w: M w = most − least + 2 · 3σ w; at most half of them lie beyond the labels.
        beyond = min(REACH * p.sigma, p.classes / 4)
        width = ((most - least) or train.grid.width) / (p.classes - 2 * beyond)
        edges = (least + most) / 2 + width * (np.arange(p.classes + 1) - p.classes / 2)
        self.sigma = p.sigma * width
        self.register_buffer("edges", torch.from_numpy(edges).float())
        self.register_buffer("centres", torch.from_numpy((edges[1:] + edges[:-1]) / 2).float())

    def decode(self, out: Tensor) -> Tensor:
        """Mean of the predicted histogram, `[B]`."""
        return (out.softmax(1) * self.centres).sum(1)  # a product of matrices would be in half precision there

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in nats."""
        return self._cross_entropy(step.out, step.batch.y)

    def _cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        targets = soft_targets(y, self.edges, self.sigma)
        return -(targets * logits.log_softmax(1)).sum(1)


class BalancedHLGauss(HLGauss):
    """Cross-entropy of `hl_gauss` that undoes the imbalance of the training labels, as Balanced Softmax of classes.

        loss_i = −Σ_k p_k(y_i) log softmax(out + τ log π)_k,   pred = Σ_k softmax(out)_k c_k
        π_k ∝ 1 + Σ_i p_k(y_i) over the training set

    The prior π is that of the soft targets, so that it is smooth where they are, with one row added to every class.
    The combination is ours.
    """

    source: ClassVar[str] = "ours, after Ren et al., NeurIPS 2020, arXiv:2007.10740 (Balanced Softmax)"

    class Hparams(HLGauss.Hparams):
        """`tau`: 1 undoes the imbalance whole, 0 not at all."""

        tau: Annotated[float, Float(0.0, 2.0)] = 1.0

    hparams: Hparams
    log_prior: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Lay the classes, and keep the logarithm of their prior, `[M]`."""
        super().fit(train)
        values, counts = heaps(train.y.numpy())
        mass = torch.ones(self.outputs, dtype=torch.float64)
        for part in np.array_split(np.arange(len(values)), len(values) // PART + 1):
            targets = soft_targets(torch.from_numpy(values[part]), self.edges.double(), self.sigma)
            mass += torch.from_numpy(counts[part]).double() @ targets
        self.register_buffer("log_prior", (mass / mass.sum()).log().float())

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in nats."""
        return self._cross_entropy(step.out + self.hparams.tau * self.log_prior, step.batch.y)
