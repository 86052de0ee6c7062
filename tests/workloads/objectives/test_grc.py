"""Group classification: values and gradients against the written formula."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from workloads.labels import LabelGrid
from workloads.objectives.grc import GRC, descending_targets
from workloads.seam import Batch, Step, TrainLabels

GRID = LabelGrid(0, 30, 30)
TRAIN = torch.tensor([0.0, 1.0, 2.0, 5.0, 12.0])


def made(train: Tensor = TRAIN, **hparams: float) -> GRC:
    objective = GRC(GRC.Hparams.of({"groups": 4, "beta": 1.0, **hparams}, "grc"))
    objective.fit(TrainLabels(train, GRID, 3, 32))
    return objective.double()


def step_of(objective: GRC, out: Tensor, y: Tensor) -> Step:
    return Step(Batch(y, y, y.long(), torch.arange(len(y)), 0, 0), out, out, out, objective.decode(out), lambda x: x)


def test_soft_targets_on_paper() -> None:
    e = math.exp(-1)  # β = 1: every step away from the true group costs a factor of e
    rows = [[1, e, e**2], [e, 1, e], [e**2, e, 1]]
    assert_close(descending_targets(3, 1.0), torch.tensor([[q / sum(row) for q in row] for row in rows]).double())


@pytest.mark.parametrize("beta", [0.1, 1.0, 10.0])
def test_soft_targets_are_the_softmax_of_the_papers_labels(beta: float) -> None:
    # l = [..., G − 2β, G − β, G, G − β, ...] with G at the true group.
    labels = torch.tensor([[7 - beta * abs(g - j) for j in range(7)] for g in range(7)], dtype=torch.float64)
    assert_close(descending_targets(7, beta), labels.exp() / labels.exp().sum(1, keepdim=True))


def test_soft_targets_of_a_large_beta_are_the_group_itself() -> None:
    assert_close(descending_targets(3, 1e3), torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_the_loss_and_its_gradient_equal_the_formula(weight: float) -> None:
    objective = made(classify=weight)
    # Groups are 0 … 3 … 6 … 9 … 12; 3 lies on an edge, 15 beyond the labels.
    labels, groups = [0.5, 3.0, 8.0, 15.0, 12.0], [0, 1, 2, 3, 3]
    y = torch.tensor(labels, dtype=torch.float64)
    out = torch.randn(5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    ours = objective(step_of(objective, out, y))
    targets = descending_targets(4, 1.0)
    mean = sum(TRAIN.tolist()) / 5
    variance = sum((t - mean) ** 2 for t in TRAIN.tolist()) / 5
    losses = []
    for row, label, g in zip(out, labels, groups, strict=True):
        total = sum(row[4 + j].exp() for j in range(4))
        named = -sum(targets[g, j] * torch.log(row[4 + j].exp() / total) for j in range(4))
        losses.append(weight * named + (label - row[g]) ** 2 / variance)
    loops = torch.stack(losses)
    assert_close(ours, loops, rtol=1e-5, atol=1e-7)
    gradients = [torch.autograd.grad(loss.sum(), out, retain_graph=True)[0] for loss in (ours, loops)]
    assert_close(*gradients, rtol=1e-5, atol=1e-7)


def test_the_expert_of_the_most_probable_group_predicts() -> None:
    out = torch.tensor([[1.0, 4.0, 7.0, 11.0, 0.0, 2.0, 1.0, 0.0], [1.0, 4.0, 7.0, 11.0, 0.0, 0.0, 0.0, 3.0]])
    assert made().decode(out).tolist() == [4.0, 11.0]


def test_equal_labels_have_a_finite_loss() -> None:
    objective = made(torch.full((3,), 4.0))
    out = torch.zeros(1, 8, dtype=torch.float64)
    assert objective(step_of(objective, out, torch.tensor([4.0], dtype=torch.float64))).isfinite().all()
