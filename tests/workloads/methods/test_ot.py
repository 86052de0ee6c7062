"""Optimal transport against the POT library and the definition."""

import math

import numpy as np
import ot
import pytest
import torch
from torch.testing import assert_close

from bench import reference
from workloads.labels import LabelGrid
from workloads.methods.ot import OT, nearest_shares, sinkhorn
from workloads.seam import Batch, Step, TrainLabels

GRID = LabelGrid(0, 10, 10)


def problem(n=12, m=7):
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(n, m, generator=generator, dtype=torch.float64)
    source = torch.rand(n, generator=generator, dtype=torch.float64).softmax(0)
    return cost, source, torch.full((m,), 1.0 / m, dtype=torch.float64)


@pytest.mark.parametrize("epsilon", [0.02, 0.1, 1.0])
def test_the_plan_equals_that_of_pot(epsilon):
    cost, source, target = problem()
    golden = ot.sinkhorn(source.numpy(), target.numpy(), cost.numpy(), epsilon, method="sinkhorn_log", numItermax=5000)
    plan, _ = sinkhorn(cost, source, target, epsilon, 2000)
    assert_close(plan, torch.from_numpy(golden), rtol=1e-5, atol=1e-8)


def test_the_potential_is_the_gradient_of_the_optimum():
    cost, source, target = problem()
    epsilon = 0.1

    def optimum(share):
        plan = sinkhorn(cost, share, target, epsilon, 500)[0]
        return float((plan * cost).sum() + epsilon * (plan * (plan.log() - 1)).sum())

    potential = sinkhorn(cost, source, target, epsilon, 500)[1]
    move = torch.zeros_like(source)
    move[0], move[3] = 1e-5, -1e-5
    slope = (optimum(source + move) - optimum(source - move)) / 2e-5
    assert slope == pytest.approx(float(potential[0] - potential[3]), rel=1e-5)


def centred(potential, share):
    return potential - share @ potential


@pytest.mark.parametrize("epsilon", [0.01, 0.02, 0.05, 0.1, 1.0])
@pytest.mark.parametrize("cost", ["label", "feature", "combined"])
def test_the_potential_of_a_batch_is_exact_to_a_thousandth_for_every_cost_and_searched_epsilon(cost, epsilon):
    """Ages drawn like those of AgeDB; the potential against plain steps until converged."""
    size = 64
    generator = torch.Generator().manual_seed(0)
    labels = (torch.randn(4000, generator=generator) * 15.8 + 45).round().clamp(1, 101)
    grid = LabelGrid(0, 121, 121)
    z = torch.randn(4000, 8, generator=generator) + labels[:, None] / 20
    method = OT(OT.Hparams.of({"cost": cost, "epsilon": epsilon}, "ot"))
    method.fit(TrainLabels(labels, grid, 8, size))
    method.end_epoch(0, lambda train_mode=False: (z, labels))
    rows = torch.arange(size)
    bins = torch.from_numpy(grid.bin(labels[rows].numpy()))
    share = method.logits[rows].softmax(0)
    matrix = method.cost(z[rows], labels[rows], bins)
    _, ours = sinkhorn(matrix, share, method.mass, epsilon)
    a, b = (mass.double() / mass.double().sum() for mass in (share, method.mass))
    golden = centred(reference.sinkhorn_potential(matrix.double(), a, b, epsilon, math.ceil(20 / epsilon)), a)
    assert (centred(ours.double(), a) - golden).norm() <= 1e-3 * golden.norm()


def test_nearest_shares_are_the_best_weights_that_pot_finds():
    generator = np.random.default_rng(0)
    values = generator.uniform(0, 10, 8).round(1)
    values[1] = values[0]
    shares = nearest_shares(values, 0.0, 10.0)
    assert shares.sum() == pytest.approx(1.0)
    assert shares[0] == shares[1]
    target = np.linspace(0, 10, 4001)
    best = ot.emd2_1d(values, target, shares, np.full(4001, 1 / 4001), metric="euclidean")
    for _ in range(50):
        other = np.abs(shares + generator.normal(0, 0.02, 8))
        assert (
            ot.emd2_1d(values, target, other / other.sum(), np.full(4001, 1 / 4001), metric="euclidean") >= best - 1e-3
        )


def make(labels, **hparams):
    method = OT(OT.Hparams.of(hparams, "ot"))
    method.fit(TrainLabels(labels, GRID, 3, 16))
    return method


def step(labels, z):
    y = labels
    batch = Batch(z, y, torch.from_numpy(GRID.bin(y.numpy())), torch.arange(len(y)), 0, 0)
    return Step(batch, z, z, z, y, lambda x: x)


LABELS = torch.tensor([1.0] * 30 + [5.0] * 9 + [9.0])


@pytest.mark.parametrize("cost", ["label", "feature", "combined"])
@pytest.mark.parametrize("meta", [0, 2])
@pytest.mark.parametrize("label_cost", ["distance", "class"])
def test_learned_weights_have_mean_1_and_bring_the_batch_closer_to_balance(cost, meta, label_cost):
    generator = torch.Generator().manual_seed(0)
    z = LABELS[:, None] / 5 + 0.1 * torch.randn(len(LABELS), 3, generator=generator)
    z[:, 0] *= -1 + LABELS / 4  # direction tells the label
    method = make(LABELS, cost=cost, meta=meta, label_cost=label_cost, lr=1.0, beta=0.0)
    method.end_epoch(0, lambda train_mode=False: (z, LABELS))
    first = method.weigh(step(LABELS, z))
    for epoch in range(60):
        weights = method.weigh(step(LABELS, z))
        method.end_epoch(epoch, lambda train_mode=False: (z, LABELS))
    weights = (method.logits - method.log_mean).exp()
    assert_close(weights.mean(), torch.tensor(1.0))
    assert weights[-1] > 2 * first[-1] and weights[-1] > 2 * weights[0]


def test_weights_start_balanced_by_class():
    method = make(LABELS, lr=1e-2)
    weights = (method.logits - method.log_mean).exp()
    assert_close(weights[0] * 30, weights[-1] * 1, rtol=2e-3, atol=0)  # β = 0.9999 is nearly the inverse count


def test_the_closed_form_weighs_by_the_length_of_each_label_cell():
    method = make(LABELS, solver="closed")
    weights = method.weigh(step(LABELS, torch.zeros(len(LABELS), 3)))
    assert_close(weights.mean(), torch.tensor(1.0))
    cells = torch.tensor([2.0 / 30, 4.0 / 9, 3.0])  # labels 1, 5, 9 on 1 … 10
    assert_close(weights[[0, 30, 39]] / weights[0], cells / cells[0])
