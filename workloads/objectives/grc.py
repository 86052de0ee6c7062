"""Group classification: a classifier says which group of labels, and an expert of the group which label."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from workloads.groups import group_of, inner_edges
from workloads.hparams import Declared, Float, Int
from workloads.seam import Objective, Step, TrainLabels


def descending_targets(groups: int, beta: float) -> Tensor:
    """Soft targets `[G, G]` of every group, with sum 1, that fall with distance to both sides.

    q_gj ∝ exp(−β |g − j|)
    """
    place = torch.arange(groups, dtype=torch.float64)
    return (-beta * (place[:, None] - place[None, :]).abs()).softmax(1)


class GRC(Objective):
    """Classify the group of the label with soft targets that fall with distance, and regress within the group.

        loss_i = λ · −Σ_j q_gj log softmax(c)_j  +  (y_i − μ_g)² / s_y²,   q_gj ∝ exp(−β |g − j|)
        g = the group of y_i,   pred = μ_j of the most probable group j

    Outputs are a prediction μ_j for every group and the classifier's c_j. Groups are equal parts of the range of the
    training labels. β = 1 and the numbers of groups up to 25 are those of the paper, whose soft labels fall linearly
    and then go through a softmax. s_y, the standard deviation of the training labels, brings both terms to one scale
    (ours); the paper's text gives no λ.

    The paper derives it from p(y | x) = Σ_g p(y | x, g) p(g | x). Its third term, a contrast of groups by their order,
    is a penalty of its own: `grc + group_contrast` is the paper's model, with the same number of groups in both.
    """

    source: ClassVar[str] = "Pu et al., AAAI 2025, arXiv:2412.12327"
    note: ClassVar[str] = "reference code not used here"
    version: ClassVar[int] = 2  # 2: soft targets of the paper
    edges: Tensor
    targets: Tensor
    variance: Tensor

    class Hparams(Declared):
        """`groups`: G; `beta`: β; `classify`: λ."""

        groups: Annotated[int, Int(2, 50, log=True)] = 10
        beta: Annotated[float, Float(0.1, 10.0, log=True)] = 1.0
        classify: Annotated[float, Float(1e-2, 1e2, log=True)] = 1.0

    hparams: Hparams

    def fit(self, train: TrainLabels) -> None:
        """Lay the groups over the training labels: their inner edges `[G − 1]`, and their targets `[G, G]`."""
        groups = self.hparams.groups
        self.labels, self.outputs = groups, 2 * groups
        variance = float(train.y.double().var(correction=0)) or train.grid.width**2  # labels may all be equal
        self.register_buffer("edges", inner_edges(train.y, groups))
        self.register_buffer("targets", descending_targets(groups, self.hparams.beta).float())
        self.register_buffer("variance", torch.tensor(variance))

    def decode(self, out: Tensor) -> Tensor:
        """The label of the expert of the most probable group, `[B]`."""
        middle, logits = out.chunk(2, dim=1)
        return middle.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in nats and standard deviations of the training labels, squared."""
        y = step.batch.y
        middle, logits = step.out.chunk(2, dim=1)
        group = group_of(y, self.edges)
        named = -(self.targets[group] * logits.log_softmax(1)).sum(1)
        error = y - middle.gather(1, group.unsqueeze(1)).squeeze(1)
        return self.hparams.classify * named + error.square() / self.variance
