"""Objectives that predict a width: values and gradients against the densities, one sample at a time."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from toys import TOYS
from workloads.labels import LabelGrid
from workloads.model import Model
from workloads.objectives import OBJECTIVES
from workloads.recipe import Recipe
from workloads.seam import Batch, Objective, Step, TrainLabels

GRID = LabelGrid(0, 12, 12)
Y = torch.tensor([1.0, 2.5, 2.5, 7.0, 11.0], dtype=torch.float64)
DEVIATION = math.sqrt(sum((y - 4.8) ** 2 for y in Y.tolist()) / 5)


def made(name: str, **hparams: float) -> Objective:
    objective = OBJECTIVES[name](OBJECTIVES[name].Hparams.of(hparams, name))
    objective.fit(TrainLabels(Y.float(), GRID, 4, 32))
    return objective.double()


def step(objective: Objective, out: Tensor) -> Step:
    batch = Batch(Y, Y, torch.from_numpy(GRID.bin(Y.numpy())), torch.arange(len(Y)), 0, 0)
    return Step(batch, out, out, out, objective.decode(out), lambda x: x)


def density(kind: str, error: Tensor, scale: Tensor) -> Tensor:
    if kind == "laplace_nll":
        return torch.exp(-abs(error) / scale) / (2 * scale)
    return torch.exp(-(error**2) / (2 * scale**2)) / (math.sqrt(2 * math.pi) * scale)


@pytest.mark.parametrize(
    ("kind", "beta"), [("laplace_nll", 0), ("gaussian_nll", 0), ("beta_nll", 0.5), ("beta_nll", 1)]
)
def test_likelihoods_and_their_gradients_equal_the_logarithms_of_the_densities(kind: str, beta: float) -> None:
    objective = made(kind, **({"beta": beta} if kind == "beta_nll" else {}))
    results = []
    for ours in (True, False):
        # The last is hit exactly; scales below and above the standard deviation.
        out = torch.tensor([[3.0, -1.0], [2.0, 0.0], [2.0, 2.0], [9.0, 0.7], [11.0, -3.0]], dtype=torch.float64)
        out.requires_grad_()
        if ours:
            loss = objective(step(objective, out))
        else:
            rows = []
            for (middle, raw), y in zip(out, Y, strict=True):
                scale = DEVIATION * torch.exp(6 * torch.tanh(raw / 6))
                factor = float(scale.detach() / DEVIATION) ** (2 * beta)
                rows.append(-factor * torch.log(density(kind, y - middle, scale)))
            loss = torch.stack(rows)
        results.append((loss.detach(), torch.autograd.grad(loss.sum(), out)[0]))
    assert_close(results[0], results[1], rtol=1e-5, atol=1e-9)


def test_the_prediction_has_the_gradient_of_a_squared_error_where_beta_is_1() -> None:
    objective = made("beta_nll", beta=1.0)
    out = torch.tensor([[3.0, s] for s in (-2.0, -1.0, 0.0, 1.0, 2.0)], dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(objective(step(objective, out)).sum(), out)
    assert_close(grad[:, 0], (3.0 - Y) / DEVIATION**2, rtol=1e-6, atol=0)


def test_scales_have_bounds_and_a_gradient_near_them() -> None:
    objective = made("gaussian_nll")
    out = torch.tensor([[3.0, s] for s in (-1e4, -12.0, 0.0, 12.0, 1e4)], dtype=torch.float64, requires_grad=True)
    loss = objective(step(objective, out))
    (grad,) = torch.autograd.grad(loss.sum(), out)
    assert loss.isfinite().all() and grad.isfinite().all()
    assert (grad[1:4, 1] != 0).all()


@pytest.mark.parametrize("name", ["l1", "gaussian_nll", "hl_gauss"])
def test_offset_and_scale_of_the_labels_act_on_the_outputs_that_are_labels(name: str) -> None:
    """The head of 8 ± 8 labels: its first output is moved to them, a logarithm of a scale and logits are not."""
    toy = TOYS["regression"]
    data = toy.load(None)
    model = Model(nn.Identity(), 4, Recipe(name), {}, data.units)
    model.fit(TrainLabels(data.train.y, toy.grid, 4, 32))
    h = torch.randn(3, 4)
    raw, out = model.head(h), model.output(h)
    labels = {"l1": 1, "gaussian_nll": 1, "hl_gauss": 0}[name]
    assert_close(out[:, :labels], 8 + 8 * raw[:, :labels])
    assert torch.equal(out[:, labels:], raw[:, labels:])
