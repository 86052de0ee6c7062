"""Margins by class frequency: values and gradients against the written formula."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from workloads.labels import LabelGrid
from workloads.objectives.ldam import LDAM, margins
from workloads.seam import Batch, Step, TrainLabels

GRID = LabelGrid(0, 4, 4)
TRAIN = torch.tensor([0.0] * 16 + [1.0] * 81 + [3.0])  # no row of class 2
FEATURES = [[1.0, -2.0, 0.5], [0.3, 0.1, 4.0], [-1.0, 0.0, 0.0]]


def made(**hparams: float) -> LDAM:
    objective = LDAM(LDAM.Hparams.of(hparams, "ldam"))
    objective.fit(TrainLabels(TRAIN, GRID, 3, 32))
    return objective.double()


def test_margins_fall_with_the_fourth_root_of_the_count() -> None:
    assert margins(torch.tensor([16, 81, 0, 1]).numpy(), 0.6).tolist() == pytest.approx([0.3, 0.2, 0.6, 0.6])


@pytest.mark.parametrize(("margin", "scale"), [(0.5, 30.0), (0.1, 2.0)])
def test_the_loss_and_its_gradient_equal_the_formula(margin: float, scale: float) -> None:
    objective = made(margin=margin, scale=scale)
    torch.manual_seed(0)
    head = objective.head(3).double()
    weights = [row.clone().detach().requires_grad_() for row in head.direction]  # type: ignore[union-attr]
    z = torch.tensor(FEATURES, dtype=torch.float64)
    y = [0, 3, 2]
    labels = torch.tensor(y, dtype=torch.float64)
    out = head(z)
    step = Step(Batch(z, labels, labels.long(), torch.arange(3), 0, 0), z, z, out, objective.decode(out), lambda x: x)
    ours = objective(step)

    losses: list[Tensor] = []
    for row, own in zip(z, y, strict=True):
        cosines = [(w @ row) / (w.norm() * row.norm()) for w in weights]
        moved = [
            scale * (c - (margin * {0: 0.5, 1: 1 / 3}.get(k, 1.0) if k == own else 0.0)) for k, c in enumerate(cosines)
        ]
        losses.append(-torch.log(moved[own].exp() / sum(o.exp() for o in moved)))
    loops = torch.stack(losses)
    assert_close(ours.detach(), loops.detach(), rtol=1e-5, atol=1e-9)
    (gradient,) = torch.autograd.grad(ours.sum(), head.direction)  # type: ignore[arg-type]
    assert_close(gradient, torch.stack(torch.autograd.grad(loops.sum(), weights)), rtol=1e-5, atol=1e-9)


def test_the_prediction_is_the_class_of_the_nearest_direction_without_a_margin() -> None:
    objective = made()
    out = torch.tensor([[0.9, 0.8, 0.0, 0.85], [-1.0, -0.5, -0.6, -0.7]], dtype=torch.float64)
    assert objective.decode(out).tolist() == [0.0, 1.0]
    loss = objective(
        Step(Batch(out, torch.zeros(2), torch.tensor([0, 1]), torch.arange(2), 0, 0), out, out, out, out[:, 0], id)
    )
    assert float(loss[0]) > math.log(2)  # it wins by .05, which is less than its margin of .25
