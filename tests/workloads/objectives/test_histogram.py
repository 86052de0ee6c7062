"""Regression by classification: soft targets, loss and prediction against loops over samples and classes."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from workloads.labels import LabelGrid
from workloads.objectives import OBJECTIVES
from workloads.objectives.histogram import HLGauss, soft_targets
from workloads.seam import Batch, Step, TrainLabels

GRID = LabelGrid(0, 40, 40)
TRAIN = torch.from_numpy(np.random.default_rng(0).exponential(5.0, 80).clip(0, 39.5)).float()


def made(name: str, **hparams: float) -> HLGauss:
    objective = OBJECTIVES[name](OBJECTIVES[name].Hparams.of(hparams, name))
    objective.fit(TrainLabels(TRAIN, GRID, 4, 32))
    assert isinstance(objective, HLGauss)
    return objective.double()


def step(objective: HLGauss, out: Tensor, y: Tensor) -> Step:
    batch = Batch(y, y, torch.from_numpy(GRID.bin(y.numpy())), torch.arange(len(y)), 0, 0)
    return Step(batch, out, out, out, objective.decode(out), lambda x: x)


def below(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def target(y: float, edges: list[float], sigma: float) -> list[float]:
    mass = [below((b - y) / sigma) - below((a - y) / sigma) for a, b in itertools.pairwise(edges)]
    return [m / sum(mass) for m in mass]


@pytest.mark.parametrize(("name", "tau"), [("hl_gauss", 0.0), ("balanced_hl_gauss", 1.0), ("balanced_hl_gauss", 0.4)])
def test_loss_prediction_and_gradients_equal_the_loops(name: str, tau: float) -> None:
    hparams = {"classes": 12, "sigma": 0.75} | ({"tau": tau} if tau else {})
    objective = made(name, **hparams)
    edges = objective.edges.tolist()
    prior = [1.0] * 12
    for y in TRAIN.tolist():
        prior = [n + p for n, p in zip(prior, target(y, edges, objective.sigma), strict=True)]
    y = torch.tensor([0.0, 3.3, edges[4], float(TRAIN.max())], dtype=torch.float64)  # one on an edge
    results = []
    for ours in (True, False):
        out = torch.randn(4, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
        if ours:
            given = step(objective, out, y)
            loss, pred = objective(given), given.pred
        else:
            losses, preds = [], []
            for row, label in zip(out, y.tolist(), strict=True):
                moved = torch.stack([o + tau * math.log(n / sum(prior)) for o, n in zip(row, prior, strict=True)])
                p = target(label, edges, objective.sigma)
                losses.append(-sum(p[k] * torch.log(moved[k].exp() / moved.exp().sum()) for k in range(12)))
                centres = [(edges[k] + edges[k + 1]) / 2 for k in range(12)]
                preds.append(sum(row[k].exp() / row.exp().sum() * centres[k] for k in range(12)))
            loss, pred = torch.stack(losses), torch.stack(preds)
        grads = torch.autograd.grad(loss.sum() + pred.sum(), out)
        results.append((loss.detach(), pred.detach(), *grads))
    assert_close(results[0], results[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("classes", "sigma"), [(10, 4.0), (10, 0.75), (100, 0.75), (500, 2.0)])
def test_the_classes_hold_all_training_labels_and_what_lies_around_them(classes: int, sigma: float) -> None:
    objective = made("hl_gauss", classes=classes, sigma=sigma)
    edges = objective.edges
    assert len(edges) == classes + 1 and edges.diff().std() < 1e-4 * edges.diff().mean()
    assert edges[0] < TRAIN.min() and TRAIN.max() < edges[-1]
    if classes > 12 * sigma:
        means = soft_targets(TRAIN.double(), edges, objective.sigma) @ objective.centres
        assert (means - TRAIN).abs().max() < 0.02 * objective.sigma, (
            "the mean of a target is its label, at the ends too"
        )


def test_a_label_beyond_the_classes_is_learnt_as_the_outermost() -> None:
    edges = torch.linspace(0, 1, 11, dtype=torch.float64)
    targets = soft_targets(torch.tensor([-1e6, 0.0, 1.0, 1e6], dtype=torch.float64), edges, 0.05)
    assert torch.equal(targets[0], targets[1]) and torch.equal(targets[2], targets[3])
    assert_close(targets.sum(1), torch.ones(4, dtype=torch.float64))


def test_a_narrow_target_is_one_class() -> None:
    targets = soft_targets(torch.tensor([0.25, 0.72]), torch.linspace(0, 1, 11), 1e-4)
    assert targets.argmax(1).tolist() == [2, 7] and targets.max(1).values.tolist() == [1.0, 1.0]
