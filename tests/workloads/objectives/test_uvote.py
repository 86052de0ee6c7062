"""Uncertainty voting: losses, gradients and predictions against loops over samples and experts."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from toys import TOYS
from workloads.labels import LabelGrid
from workloads.loop import Fit
from workloads.objectives.uvote import UVOTE, expert_weights
from workloads.recipe import Recipe
from workloads.seam import Batch, Step, TrainLabels
from workloads.training import settle

GRID = LabelGrid(0, 12, 12)
TRAIN = torch.tensor([1.0] * 30 + [2.5] * 9 + [7.0] * 2 + [11.0])
Y = torch.tensor([1.0, 2.5, 7.0, 11.0], dtype=torch.float64)


def made(**hparams: int | str) -> UVOTE:
    objective = UVOTE(UVOTE.Hparams.of(hparams, "uvote"))
    objective.fit(TrainLabels(TRAIN, GRID, 4, 32))
    return objective.double()


def step(objective: UVOTE, out: torch.Tensor, done: float) -> Step:
    batch = Batch(Y, Y, torch.from_numpy(GRID.bin(Y.numpy())), torch.arange(len(Y)), 0, 0, done)
    return Step(batch, out, out, out, objective.decode(out), lambda x: x)


@pytest.mark.parametrize("experts", [2, 3])
@pytest.mark.parametrize(("schedule", "done"), [("dynamic", 0.0), ("dynamic", 0.7), ("static", 0.7)])
def test_the_loss_and_its_gradient_equal_the_loops(experts: int, schedule: str, done: float) -> None:
    objective = made(experts=experts, schedule=schedule)
    assert (objective.outputs, objective.labels) == (2 * experts, experts)
    labels = TRAIN.double().tolist()
    mean = sum(labels) / len(labels)
    deviation = math.sqrt(sum((y - mean) ** 2 for y in labels) / len(labels))

    def count(y: float, power: float) -> int:
        n = sum(int(other) == int(y) for other in labels)
        return max(n, 5) if power == 1 else n

    results = []
    for ours in (True, False):
        out = 3 * torch.randn(4, 2 * experts, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        out[0, 0] = Y[0]  # an exact hit
        out.requires_grad_()
        if ours:
            loss = objective(step(objective, out, done))
        else:
            losses = []
            for i, y in enumerate(Y.tolist()):
                total = out.new_zeros(())
                for m in range(experts):
                    power = m / (experts - 1)
                    weights = [count(other, power) ** -power for other in labels]
                    scale = deviation * torch.exp(6 * torch.tanh(out[i, experts + m] / 6))
                    density = torch.exp(-abs(y - out[i, m]) / scale) / (2 * scale)
                    alpha = {"static": 1.0, "dynamic": 1 - done**2 if m == 0 else done**2}[schedule]
                    weight = count(y, power) ** -power / (sum(weights) / len(labels))
                    total = total - alpha * weight * torch.log(density)
                losses.append(total)
            loss = torch.stack(losses)
        results.append((loss.detach(), torch.autograd.grad(loss.sum(), out)[0]))
    assert_close(results[0], results[1], rtol=1e-5, atol=1e-9)


def test_the_surest_expert_predicts() -> None:
    out = torch.tensor([[1.0, 2.0, 0.5, -0.5], [1.0, 2.0, -3.0, 4.0]], requires_grad=True)
    pred = made().decode(out)
    assert pred.tolist() == [2.0, 1.0]
    assert torch.autograd.grad(pred.sum(), out)[0].tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]


def test_weights_go_from_none_to_clipped_inverse_counts() -> None:
    counts = np.array([2000, 100, 4, 0])
    weights = expert_weights(counts, 3)
    assert weights @ counts == pytest.approx([2104] * 3)
    assert weights[0].tolist() == pytest.approx([1] * 4)
    assert weights[1] / weights[1, 0] == pytest.approx([1, math.sqrt(20), math.sqrt(500), math.sqrt(2000)])
    assert weights[2] / weights[2, 0] == pytest.approx([1, 10, 200, 200])


def test_training_moves_from_the_first_expert_to_the_others_within_every_stage() -> None:
    toy, recipe = TOYS["regression"], Recipe.parse("uvote + rrt")
    run = Fit(toy, toy.load(None), recipe, settle(recipe, toy.settings, {"train.epochs": 8}), 0, torch.device("cpu"))
    seen: list[float] = []
    run.model.objective.register_forward_pre_hook(lambda module, given: seen.append(given[0].batch.done))
    list(run)
    assert list(dict.fromkeys(seen[: len(seen) // 2])) == [0.0, 0.25, 0.5, 0.75]
    assert seen[len(seen) // 2 :] == seen[: len(seen) // 2]
