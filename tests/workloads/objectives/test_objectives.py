"""Objectives: values against the written formula, one sample at a time."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from bench import reference
from published import agedb
from workloads.hparams import Choice
from workloads.labels import LabelGrid
from workloads.objectives import OBJECTIVES
from workloads.objectives.bmse import gaussian_mixture
from workloads.objectives.pointwise import focal, huber
from workloads.seam import Batch, Step, TrainLabels

GRID = LabelGrid(0, 12, 12)


def pairs(n=50):
    generator = torch.Generator().manual_seed(0)
    return 20 * torch.rand(2, n, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("beta", "gamma"), [(0.2, 1.0), (20.0, 1.0), (0.5, 2.5)])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_focal_equals_the_formula(power, beta, gamma, activation):
    pred, target = pairs()
    golden = [
        reference.focal(p, t, power, beta, gamma, activation)
        for p, t in zip(pred.tolist(), target.tolist(), strict=True)
    ]
    assert_close(focal(pred, target, power, beta, gamma, activation).tolist(), golden, rtol=1e-9, atol=0)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("gamma", [0.25, 0.5, 1.0, 1.5, 4.0])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("beta", [0.01, 0.2, 100.0])
def test_focal_has_no_gradient_at_an_exact_hit_and_a_finite_one_near_it(power, gamma, activation, beta):
    target = torch.tensor([40.0, 0.0, 0.0, 0.0, 0.0, -3.0, 40.0])
    pred = torch.tensor([40.0, 0.0, 1e-45, -1e-39, 1e-20, -3.0, 41.0], requires_grad=True)
    focal(pred, target, power, beta, gamma, activation).sum().backward()
    assert pred.grad[[0, 1, 5]].tolist() == [0.0, 0.0, 0.0]
    assert pred.grad.isfinite().all() and pred.grad[6] > 0


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_focal_and_its_gradient_keep_their_digits_near_a_hit(activation):
    errors = torch.tensor([1e-6, 1e-4, 1e-2])
    results = []
    for dtype in (torch.float32, torch.float64):
        pred = errors.to(dtype, copy=True).requires_grad_()
        loss = focal(pred, torch.zeros(3, dtype=dtype), 1, 0.2, 0.5, activation)
        loss.sum().backward()
        results.append((loss.detach().double(), pred.grad.double()))
    assert_close(results[0], results[1], rtol=1e-6, atol=0)


def test_focal_grows_as_published():
    errors = torch.tensor([1.0, 5.0, 10.0, 20.0])
    assert_close(focal(errors, torch.zeros(4)) / errors, torch.tensor([0.0997, 0.462, 0.762, 0.964]), atol=5e-4, rtol=0)


@pytest.mark.parametrize("beta", [0.3, 1.0, 7.0])
def test_huber_equals_the_formula(beta):
    pred, target = pairs()
    golden = [reference.huber(p, t, beta) for p, t in zip(pred.tolist(), target.tolist(), strict=True)]
    assert_close(huber(pred, target, beta).tolist(), golden, rtol=1e-9, atol=0)


def make(name, y, grid=GRID, **hparams):
    objective = OBJECTIVES[name](OBJECTIVES[name].Hparams.of(hparams, name)).double()
    objective.fit(TrainLabels(y.float(), grid, 4, 32))
    return objective.double()


def step(objective, out, y, grid=GRID):
    batch = Batch(y, y, torch.from_numpy(grid.bin(y.numpy())), torch.arange(len(y)), 0, 0)
    return Step(batch, out, out, out, objective.decode(out), lambda x: x)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
def test_quantile_and_its_gradient_equal_the_pinball_loss(level):
    target = torch.tensor([1.0, 2.0, 7.0], dtype=torch.float64)
    pred = torch.tensor([0.2, 5.0, 7.0], dtype=torch.float64, requires_grad=True)  # below, above and at the label
    objective = make("quantile", target, level=level)
    losses = objective(step(objective, pred[:, None], target))
    (grad,) = torch.autograd.grad(losses.sum(), pred)
    assert_close(losses.tolist(), [2 * level * 0.8, 2 * (1 - level) * 3.0, 0.0], rtol=1e-9, atol=1e-12)
    # The middle of the slopes on both sides, at the label: 0 for the absolute error.
    assert_close(grad.tolist(), [-2 * level, 2 * (1 - level), 1 - 2 * level], rtol=1e-9, atol=1e-12)


def test_a_constant_that_minimises_the_quantile_loss_is_the_quantile():
    labels = torch.arange(101, dtype=torch.float64) / 10
    objective = make("quantile", labels, level=0.8)
    losses = [
        float(objective(step(objective, torch.full((101, 1), c, dtype=torch.float64), labels)).sum()) for c in labels
    ]
    assert int(np.argmin(losses)) == 80


EVERY_OPTION = [
    pytest.param(name, {field.name: value}, id=f"{name}.{field.name}={value}")
    for name, objective in OBJECTIVES.items()
    for field in objective.Hparams.declared().values()
    for value in (field.range.options if isinstance(field.range, Choice) else (field.range.low, field.range.high))
] + [pytest.param(name, {}, id=name) for name in OBJECTIVES]


@pytest.mark.parametrize(("name", "hparams"), EVERY_OPTION)
def test_the_gradient_of_every_objective_is_finite_at_exact_hits(name, hparams):
    y = torch.tensor([1.0, 2.0, 2.0, 7.0])
    objective = OBJECTIVES[name](OBJECTIVES[name].Hparams.of(hparams, name))
    objective.fit(TrainLabels(y, GRID, 4, 32))
    out = y[:, None].repeat(1, objective.outputs)
    if objective.outputs > 1:  # a class is hit exactly where all its mass is on it
        out = torch.where(torch.arange(objective.outputs) == y[:, None], 1e4, -1e4)
    out = out.float().requires_grad_()
    losses = objective(step(objective, out, y))
    learned = list(objective.parameters())
    grads = torch.autograd.grad(losses.mean(), [out, *learned])
    assert losses.isfinite().all() and all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("noise", [1.0, 4.0])
@pytest.mark.parametrize("variant", ["bmc", "bni", "gai"])
def test_balanced_mse_equals_the_densities(variant, noise):
    pred, y = pairs(20) * 0.55
    objective = make("bmse", y, variant=variant, noise=noise, components=3)
    if variant == "bmc":
        # The batch's labels, each counted once: the published softmax leaves out the share 1/B.
        centres = [(1.0, label, 0.0) for label in y.tolist()]
    elif variant == "bni":
        held = [[label for label in y.float().tolist() if int(label) == b] for b in range(GRID.bins)]
        centres = [(len(labels) / len(y), sum(labels) / len(labels), 0.0) for labels in held if labels]
    else:
        centres = list(zip(*(v.tolist() for v in gaussian_mixture(y.float().double().numpy(), 3)), strict=True))
    golden = reference.balanced_mse(pred.tolist(), y.tolist(), centres, noise)
    assert_close(objective(step(objective, pred[:, None], y)).tolist(), golden, rtol=1e-5, atol=1e-5)


def test_balanced_mse_by_bins_has_whole_ages_where_they_are():
    """Bins of a year hold one age each, at their lower end: the batch's labels with their shares are the same sum."""
    ages = torch.tensor([3.0] * 7 + [4.0] * 2 + [9.0])
    pred = torch.linspace(1, 11, len(ages), dtype=torch.float64)
    objective = make("bmse", ages, variant="bni", noise=1.5)
    assert objective.centres.tolist() == [3.0, 4.0, 9.0]
    golden = reference.balanced_mse(
        pred.tolist(), ages.tolist(), [(1 / len(ages), age, 0.0) for age in ages.tolist()], 1.5
    )
    assert_close(objective(step(objective, pred[:, None], ages.double())).tolist(), golden, rtol=1e-5, atol=1e-5)


def test_balanced_mse_of_pixels_by_bins_equals_that_of_their_labels_where_a_bin_holds_one_label():
    y = torch.tensor([0.25, 0.25, 3.75, 11.0], dtype=torch.float64)
    pred = torch.tensor([1.0, 2.0, 3.0, 9.0], dtype=torch.float64)
    results = []
    for pixels in (None, GRID.counts(y.numpy())):
        objective = OBJECTIVES["bmse"](OBJECTIVES["bmse"].Hparams.of({"noise": 1.0}, "bmse")).double()
        objective.fit(TrainLabels(y.float(), GRID, 4, 32, pixels))
        objective = objective.double()
        results.append(objective(step(objective, pred[:, None], y)))
    assert_close(results[0], results[1])


def test_balanced_mse_learns_its_noise_unless_told_not_to():
    y = pairs()[0] * 0.55
    for learn in (True, False):
        objective = make("bmse", y, learn=learn)
        assert [name for name, _ in objective.named_parameters()] == ["log_noise"] * learn
        objective(step(objective, torch.zeros(len(y), 1, dtype=torch.float64), y)).mean()


def test_a_mixture_finds_two_heaps():
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.normal(0, 1, 3000), generator.normal(20, 2, 1000)])
    share, mean, var = gaussian_mixture(values, 2)
    assert_close(share, np.array([0.75, 0.25]), atol=0.01, rtol=0)
    assert_close(mean, np.array([0.0, 20.0]), atol=0.2, rtol=0)
    assert_close(var, np.array([1.0, 4.0]), atol=0.3, rtol=0)


def test_a_mixture_of_ages_has_their_mean():
    ages = agedb("train").double().numpy()
    share, mean, _ = gaussian_mixture(ages, 8)
    assert_close(float(share @ mean), float(ages.mean()), rtol=1e-6, atol=0)


def test_arb_with_global_counts_is_balanced_softmax_and_with_the_batchs_own_leaves_absent_classes_out():
    labels = torch.tensor([0.0] * 6 + [1.0] * 3 + [2.0])
    grid = LabelGrid(0, 3, 3)
    out = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 40.0]], dtype=torch.float64)
    y = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for counts, n in (("global", (6, 3, 1)), ("batch", (1, 1, 0))):
        objective = make("arb", labels, grid, counts=counts)
        golden = []
        for z, label in zip(out.clamp(-30, 30).tolist(), (0, 1), strict=True):
            total = sum(count / n[label] * math.exp(value) for count, value in zip(n, z, strict=True))
            golden.append(-math.log(math.exp(z[label]) / total))
        assert_close(objective(step(objective, out, y, grid)).tolist(), golden, rtol=1e-6, atol=1e-9)


def test_a_class_is_predicted_as_the_label_of_the_largest_output():
    objective = make("cross_entropy", torch.arange(3.0), LabelGrid(0, 3, 3))
    assert objective.outputs == 3
    assert objective.decode(torch.tensor([[0.0, 0.0, 1.0], [2.0, 0.0, 1.0]])).tolist() == [2.0, 0.0]
