"""Weights of labels: values against the written formula, one label at a time."""

import math

import numpy as np
import pytest
import torch

from toys import TOYS
from workloads.labels import LabelGrid
from workloads.loop import Fit
from workloads.methods import METHODS
from workloads.methods.classbalanced import effective_weights
from workloads.recipe import PARTS, Recipe
from workloads.seam import Batch, Method, Step, TrainLabels
from workloads.training import settle

GRID = LabelGrid(0, 40, 40)
LABELS = torch.from_numpy(np.random.default_rng(0).exponential(5.0, 80).clip(0, 39.5)).float()


def made(name: str, labels: torch.Tensor = LABELS, **hparams: float | str) -> Method:
    method = METHODS[name](METHODS[name].Hparams.of(hparams, name))
    method.fit(TrainLabels(labels, GRID, 4, 32))
    return method.double()


def weights(method: Method, y: torch.Tensor) -> torch.Tensor:
    batch = Batch(y, y, torch.from_numpy(GRID.bin(y.numpy())), torch.arange(len(y)), 0, 0)
    weight = method.weigh(Step(batch, y, y, y, y, lambda x: x))
    assert weight is not None
    return weight


def density(y: float, labels: list[float], width: float) -> float:
    return sum(math.exp(-((y - other) ** 2) / (2 * width**2)) for other in labels)


@pytest.mark.parametrize("name", ["class_balanced", "denseweight", "relevance"])
def test_weights_have_mean_1_over_the_training_set_and_are_larger_where_labels_are_rare(name: str) -> None:
    weight = weights(made(name), LABELS.double())
    assert float(weight.mean()) == pytest.approx(1.0, rel=1e-6)
    assert float(weight[LABELS > 15].mean()) > 2 * float(weight[LABELS < 5].mean())


@pytest.mark.parametrize("beta", [0.9, 0.99, 0.999, 0.9999])
def test_class_balanced_weights_are_inverse_effective_numbers(beta: float) -> None:
    counts = np.array([500, 3, 0, 1, 20])
    golden = [(1 - beta) / (1 - beta ** max(n, 1)) for n in counts.tolist()]
    mean = sum(n * w for n, w in zip(counts.tolist(), golden, strict=True)) / 524
    assert effective_weights(counts, beta) == pytest.approx([w / mean for w in golden], rel=1e-9)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("bandwidth", [1.0, 3.0])
def test_denseweight_equals_the_formula(alpha: float, bandwidth: float) -> None:
    labels = LABELS.double().tolist()
    mean = sum(labels) / len(labels)
    deviation = math.sqrt(sum((y - mean) ** 2 for y in labels) / (len(labels) - 1))
    width = bandwidth * 1.06 * deviation * len(labels) ** -0.2
    start, end = min(labels) - 4 * width, max(labels) + 4 * width
    over = [density(start + i / 4095 * (end - start), labels, width) for i in range(4096)]
    least, most = min(over), max(over)
    golden = [max(1 - alpha * (density(y, labels, width) - least) / (most - least), 1e-6) for y in labels]
    found = weights(made("denseweight", alpha=alpha, bandwidth=bandwidth), LABELS.double())
    wanted = torch.tensor(golden, dtype=torch.float64) / (sum(golden) / len(golden))
    # Between its 4,096 points the density is read off linearly.
    assert found.numpy() == pytest.approx(wanted.numpy(), rel=1e-5, abs=1e-5)


def test_denseweight_of_labels_that_are_all_equal_weighs_them_alike() -> None:
    assert weights(made("denseweight", torch.full((9,), 7.0)), torch.full((3,), 7.0)).tolist() == pytest.approx([1] * 3)


@pytest.mark.parametrize("floor", [0.0, 0.1, 1.0])
def test_relevance_weights_equal_the_formula(floor: float) -> None:
    labels = torch.tensor([*range(1, 10), 30.0])  # the box plot's upper fence is at 9, and only high labels lie beyond
    relevant = []
    for y in labels.tolist():
        way = min(max((y - 5.5) / 3.5, 0.0), 1.0)
        relevant.append(3 * way**2 - 2 * way**3 + floor)
    golden = [w / (sum(relevant) / 10) for w in relevant]
    assert weights(made("relevance", labels, floor=floor), labels.double()).tolist() == pytest.approx(golden, rel=1e-9)


def test_a_squared_error_with_relevance_as_weight_is_the_area_under_the_curve_of_relevance() -> None:
    """SERA as it is published: squared errors of the labels of at least a relevance, integrated over the relevance."""
    method = made("relevance", floor=0.0)
    phi = method.phi(LABELS.double())  # type: ignore[operator]
    squares = torch.linspace(0.1, 9, len(LABELS), dtype=torch.float64)
    steps = torch.linspace(0, 1, 4001, dtype=torch.float64)
    curve = torch.stack([squares[phi >= t].sum() for t in steps])
    area = float(torch.trapezoid(curve, steps))
    loss = float((weights(method, LABELS.double()) * squares).mean()) * len(LABELS) * method.mean  # type: ignore[operator]
    assert loss == pytest.approx(area, rel=2e-3)


def test_relevance_of_labels_that_are_all_equal_leaves_no_weight_and_no_nan() -> None:
    assert weights(made("relevance", torch.full((9,), 7.0), floor=0.0), torch.full((3,), 7.0)).tolist() == [0] * 3
    assert weights(made("relevance", torch.full((9,), 7.0)), torch.full((3,), 7.0)).tolist() == pytest.approx([1] * 3)


def test_balanced_sampling_draws_every_bin_as_often() -> None:
    toy = TOYS["regression"]
    data, recipe = toy.load(None), Recipe.parse("l1 + balanced")
    counts = toy.bin_counts(data)
    bins = toy.grid.bin(data.train.y.numpy())
    for power in (1.0, 0.5):
        run = Fit(toy, data, recipe, settle(recipe, toy.settings, {"balanced.power": power}), 0, torch.device("cpu"))
        order = torch.Generator().manual_seed(0)
        drawn = [run.model.drawn(0, order) for _ in range(150)]
        found = np.bincount(bins[torch.cat(drawn).numpy()], minlength=len(counts))  # type: ignore[arg-type]
        wanted = np.where(counts > 0, counts ** (1 - power), 0)
        assert (found > 0).tolist() == (counts > 0).tolist()
        share, golden = found / found.sum(), wanted / wanted.sum()
        assert np.abs(share - golden).max() < 4 * np.sqrt(golden.max() / found.sum())


def test_balanced_sampling_acts_in_the_second_stage_of_retraining_only() -> None:
    toy, recipe = TOYS["classification"], Recipe.parse("cross_entropy + balanced + rrt")
    run = Fit(toy, toy.load(None), recipe, settle(recipe, toy.settings), 0, torch.device("cpu"))
    order = torch.Generator().manual_seed(0)
    assert run.model.drawn(0, order) is None
    drawn = run.model.drawn(1, order)
    assert drawn is not None and len(drawn) == run.rows and len(drawn.unique()) < run.rows


class Even(Method):
    """Draws even rows, the later the more often."""

    source = "made up"

    def draw(self) -> torch.Tensor:
        rows = torch.arange(120.0)
        return rows * (rows % 2 == 0)


class Early(Even):
    """Draws the first rows."""

    def draw(self) -> torch.Tensor:
        return (torch.arange(120) < 7).float()


def test_chances_of_two_methods_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, method in (("even", Even), ("early", Early)):
        monkeypatch.setitem(METHODS, name, method)
        monkeypatch.setitem(PARTS, name, method)
    toy, recipe = TOYS["regression"], Recipe("l1", ("even", "early"))
    run = Fit(toy, toy.load(None), recipe, settle(recipe, toy.settings), 0, torch.device("cpu"))
    order = torch.Generator().manual_seed(0)
    drawn = torch.cat([run.model.drawn(0, order) for _ in range(100)])  # type: ignore[misc]
    rows, counts = drawn.unique(return_counts=True)
    assert rows.tolist() == [2, 4, 6]
    assert (counts / len(drawn)).tolist() == pytest.approx([2 / 12, 4 / 12, 6 / 12], abs=0.02)
    assert list(run)[-1].loss > 0, "it trains on them"


def test_without_a_method_that_draws_every_row_comes_once() -> None:
    toy, recipe = TOYS["regression"], Recipe.parse("l1 + lds")
    run = Fit(toy, toy.load(None), recipe, settle(recipe, toy.settings), 0, torch.device("cpu"))
    assert run.model.drawn(0, torch.Generator().manual_seed(0)) is None
    assert made("balanced", torch.arange(20.0)).draw() is None, "every bin has as many rows"
