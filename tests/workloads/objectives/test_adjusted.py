"""Adjusted cross-entropy: values and gradients against the written formula."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from workloads.labels import LabelGrid
from workloads.objectives import OBJECTIVES
from workloads.seam import Batch, Objective, Step, TrainLabels

GRID = LabelGrid(0, 4, 4)
COUNTS = (6, 3, 0, 1)
TRAIN = torch.tensor([0.0] * 6 + [1.0] * 3 + [3.0])


def made(name: str, **hparams: float | str) -> Objective:
    objective = OBJECTIVES[name](OBJECTIVES[name].Hparams.of(hparams, name))
    objective.fit(TrainLabels(TRAIN, GRID, 4, 32))
    return objective.double()


def step(objective: Objective, out: Tensor, y: list[float]) -> Step:
    labels = torch.tensor(y, dtype=torch.float64)
    batch = Batch(labels, labels, labels.long(), torch.arange(len(y)), 0, 0)
    return Step(batch, out, out, out, objective.decode(out), lambda x: x)


def outputs() -> Tensor:
    rows = [[1.0, -2.0, 0.5, 0.1], [0.0, 1.0, 4.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    return torch.tensor(rows, dtype=torch.float64).requires_grad_()


CASES = [
    ("logit_adjust", {"tau": 1.0}, 0.0, 1.0),
    ("logit_adjust", {"tau": 2.5}, 0.0, 2.5),
    ("logit_adjust", {"tau": 1.0, "at": "prediction"}, 0.0, 0.0),
    ("vector_scaling", {"gamma": 0.3, "tau": 1.5}, 0.3, 1.5),
    ("vector_scaling", {"gamma": 0.0, "tau": 1.0}, 0.0, 1.0),
]


@pytest.mark.parametrize(("name", "hparams", "gamma", "tau"), CASES)
def test_adjusted_losses_and_gradients_equal_the_formula(
    name: str, hparams: dict[str, float | str], gamma: float, tau: float
) -> None:
    counts = [max(n, 1) for n in COUNTS]
    results = []
    for ours in (True, False):
        out = outputs()
        if ours:
            objective = made(name, **hparams)
            loss = objective(step(objective, out, [0.0, 1.0, 3.0]))
        else:
            losses = []
            for row, y in zip(out, (0, 1, 3), strict=True):
                moved = [(n / 6) ** gamma * o + tau * math.log(n / 10) for o, n in zip(row, counts, strict=True)]
                losses.append(-torch.log(moved[y].exp() / sum(o.exp() for o in moved)))
            loss = torch.stack(losses)
        results.append((loss.detach(), torch.autograd.grad(loss.sum(), out)[0]))
    assert_close(results[0], results[1], rtol=1e-5, atol=1e-7)


def test_adjusted_predictions_favour_rare_classes_where_they_are_asked_to() -> None:
    out = torch.tensor([[2.0, 1.5, -9.0, 0.4], [2.0, -9.0, -9.0, -9.0]], dtype=torch.float64)
    for tau, wanted in ((0.0, [0, 0]), (1.0, [1, 0]), (3.0, [3, 0])):
        # 2 − τ log .6, 1.5 − τ log .3 and .4 − τ log .1: where τ is 1, 2.51, 2.704 and 2.703; where it is 3, the last
        assert made("logit_adjust", tau=tau, at="prediction").decode(out).tolist() == wanted
        assert made("logit_adjust", tau=tau).decode(out).tolist() == [0, 0]


def test_logit_adjustment_is_balanced_softmax_where_tau_is_1() -> None:
    out = outputs().detach()
    losses = []
    for name in ("arb", "logit_adjust"):
        objective = OBJECTIVES[name](OBJECTIVES[name].Hparams())
        objective.fit(TrainLabels(torch.tensor([0.0] * 6 + [1.0] * 3 + [2.0] * 2 + [3.0]), GRID, 4, 32))
        losses.append(objective.double()(step(objective, out, [0.0, 1.0, 3.0])))
    assert_close(*losses, rtol=1e-6, atol=1e-7)
