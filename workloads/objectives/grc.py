"""Group classification: a classifier says which group of labels, and an expert of the group which label."""

from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from workloads.hparams import Declared, Float, Int
from workloads.seam import Objective, Step, TrainLabels


def descending_targets(groups: int, reach: int) -> Tensor:
    """Soft targets `[G, G]` of every group, with sum 1: they fall linearly to both sides, and are 0 beyond `reach`.

    q_gj ∝ max(reach + 1 − |g − j|, 0)
    """
    place = torch.arange(groups, dtype=torch.float64)
    height = (reach + 1 - (place[:, None] - place[None, :]).abs()).clamp(min=0.0)
    return height / height.sum(1, keepdim=True)


class GRC(Objective):
    """Classify the group of the label with soft targets that fall with distance, and regress within the group.

        loss_i = λ · −Σ_j q_gj log softmax(c)_j  +  (y_i − μ_g)² / s_y²,   q_gj ∝ max(r + 1 − |g − j|, 0)
        g = the group of y_i,   pred = μ_j of the most probable group j

    Outputs are a prediction μ_j for every group and the classifier's c_j. Groups are equal parts of the range of the
    training labels. s_y, the standard deviation of the training labels, brings both terms to one scale (ours).

    The paper derives it from p(y | x) = Σ_g p(y | x, g) p(g | x). It has a third term, a contrast of groups by their
    order, for which a penalty of a recipe can stand (`rnc`, `conr`); the shape of its soft targets is said in words
    (descending to both sides): the linear fall, `reach` and λ here are ours.
    """

    source: ClassVar[str] = "Pu et al., AAAI 2025, arXiv:2412.12327"
    note: ClassVar[str] = "reference code not used here"
    edges: Tensor
    targets: Tensor
    variance: Tensor

    class Hparams(Declared):
        """`groups`: G; `reach`: r; `classify`: λ."""

        groups: Annotated[int, Int(2, 50, log=True)] = 10
        reach: Annotated[int, Int(0, 10)] = 2
        classify: Annotated[float, Float(1e-2, 1e2, log=True)] = 1.0

    hparams: Hparams

    def fit(self, train: TrainLabels) -> None:
        """Lay the groups over the training labels: their inner edges `[G − 1]`, and their targets `[G, G]`."""
        groups = self.hparams.groups
        self.labels, self.outputs = groups, 2 * groups
        edges = np.linspace(float(train.y.min()), float(train.y.max()), groups + 1)[1:-1]
        variance = float(train.y.double().var(correction=0)) or train.grid.width**2  # labels may all be equal
        self.register_buffer("edges", torch.from_numpy(edges).float())
        self.register_buffer("targets", descending_targets(groups, self.hparams.reach).float())
        self.register_buffer("variance", torch.tensor(variance))

    def decode(self, out: Tensor) -> Tensor:
        """The label of the expert of the most probable group, `[B]`."""
        middle, logits = out.chunk(2, dim=1)
        return middle.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in nats and standard deviations of the training labels, squared."""
        y = step.batch.y
        middle, logits = step.out.chunk(2, dim=1)
        group = torch.bucketize(y.to(self.edges.dtype), self.edges, right=True)
        named = -(self.targets[group] * logits.log_softmax(1)).sum(1)
        error = y - middle.gather(1, group.unsqueeze(1)).squeeze(1)
        return self.hparams.classify * named + error.square() / self.variance
