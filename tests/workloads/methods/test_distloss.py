"""Dist Loss: sorting, pseudo-labels and their distance."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from bench import reference
from published import agedb, stsb
from workloads.labels import LabelGrid
from workloads.methods.distloss import DistLoss, apportion, dist_loss, kde_pseudo_labels, label_quantiles, soft_sort
from workloads.seam import TrainLabels

ELEMENTS = {
    "l1": lambda target, pred: (pred - target).abs(),
    "mse": lambda target, pred: (pred - target) ** 2,
    "huber": lambda target, pred: (
        (pred - target) ** 2 / 2 if abs(float(pred.detach()) - target) < 1 else (pred - target).abs() - 0.5
    ),
    "focal_l1": lambda target, pred: (pred - target).abs() * (2 * torch.sigmoid(0.2 * (pred - target).abs()) - 1),
}


def predictions(n, seed=0, spread=15.0):
    generator = torch.Generator().manual_seed(seed)
    return 45 + spread * torch.randn(n, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
@pytest.mark.parametrize("strength", [0.01, 0.1, 1.0, 10.0])
def test_soft_sort_and_its_gradient_equal_pooling_one_by_one(n, strength):
    weights = torch.linspace(1, 2, n, dtype=torch.float64)
    results = []
    for sort in (soft_sort, reference.soft_sort):
        leaf = predictions(n, n).requires_grad_()
        made = sort(leaf, strength)
        (made * weights).sum().backward()
        results.append((made.detach(), leaf.grad))
    assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)


def test_soft_sort_is_the_plain_sort_at_the_published_strength():
    values = predictions(256).requires_grad_()
    assert values.detach().sort().values.diff().max() < 10
    soft = soft_sort(values, 0.1)
    assert_close(soft, values.sort().values, rtol=0, atol=1e-10)
    (grad,) = torch.autograd.grad((soft * torch.arange(256)).sum(), values)
    assert_close(grad, values.detach().argsort().argsort().double())


@pytest.mark.parametrize("strength", [0.1, 3.0])
def test_a_soft_sort_of_many_values_needs_neither_squares_of_them_nor_seconds(strength):
    values = predictions(200_000, spread=1000.0).float().requires_grad_()  # n² numbers would be 320 GB
    soft = soft_sort(values, strength)
    assert soft.dtype == torch.float32 and bool((soft.diff() >= -1e-3).all())
    (grad,) = torch.autograd.grad(soft.sum(), values)
    assert_close(grad, torch.ones_like(grad), rtol=1e-4, atol=0)  # every value has its share of a run


def test_a_soft_sort_keeps_values_that_stand_alone_to_the_last_digit():
    values = torch.tensor([1e7, 3.25, 1e7 + 1, 3.0])
    assert soft_sort(values, 1e-8).tolist() == values.sort().values.tolist()


def test_a_soft_sort_without_strength_is_refused():
    with pytest.raises(ValueError, match="strength must be positive"):
        soft_sort(torch.zeros(3), 0.0)


def test_soft_sort_pulls_far_neighbours_to_a_distance_of_one_over_strength():
    assert_close(soft_sort(torch.tensor([0.0, 100.0]), 0.1), torch.tensor([45.0, 55.0]))


@pytest.mark.parametrize("loss", ELEMENTS)
@pytest.mark.parametrize("n", [1, 16, 33])
def test_value_and_gradient_equal_the_loops(loss, n):
    pseudo = label_quantiles(predictions(200, 9), n, 0.5, 0.0, 120.0)
    results = []
    for distance in (
        lambda pred: dist_loss(pred, pseudo, loss),
        lambda pred: reference.dist_loss(pred, pseudo.tolist(), ELEMENTS[loss]),
    ):
        leaf = predictions(n, n).requires_grad_()
        total = distance(leaf)
        total.backward()
        results.append((total.detach(), leaf.grad))
    assert_close(results[0], results[1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("labels", "low", "high", "step"), [(agedb, 0.0, 120.0, 1.0), (stsb, 0.0, 5.0, 0.1)])
@pytest.mark.parametrize("bandwidth", [0.1, 0.5])
def test_pseudo_labels_of_published_data_equal_the_loops(labels, low, high, step, bandwidth):
    sample = labels("train")[::25]
    for n in (16, 63):
        made = label_quantiles(sample, n, bandwidth, low, high)
        golden = reference.label_quantiles(sample.tolist(), n, bandwidth, low, high)
        assert_close(made.tolist(), golden, rtol=0, atol=1e-5 * (high - low))
        apportioned = kde_pseudo_labels(sample, n, bandwidth, low, high, step)
        assert_close(
            apportioned.tolist(),
            reference.kde_pseudo_labels(sample.tolist(), n, bandwidth, low, high, step),
            rtol=1e-5,
            atol=1e-6,
        )


def test_apportioning_ages_spans_the_published_range():
    pseudo = kde_pseudo_labels(agedb("train"), 512, 0.5, 0, 120, 1)
    assert (len(pseudo), pseudo.min(), pseudo.max()) == (512, 4, 97)
    assert_close(pseudo.mean().item(), 44.77, rtol=0, atol=0.02)
    assert_close(pseudo.std(unbiased=False).item(), 17.4, rtol=0, atol=0.05)


def test_apportioning_a_small_batch_of_ages_gives_the_recorded_labels():
    """Recorded of the authors' code at a batch of 64: mean 41.3, standard deviation 19.3."""
    pseudo = kde_pseudo_labels(agedb("train"), 64, 0.5, 0, 120, 1)
    assert_close(pseudo.mean().item(), 41.3, rtol=0, atol=0.05)
    assert_close(pseudo.std(unbiased=False).item(), 19.3, rtol=0, atol=0.05)


def test_what_is_left_over_goes_to_the_first_of_the_largest_rounded_counts():
    # Three points round to 2, and two labels are left: the third has the largest density, the second is the first.
    density = np.array([1.4, 2.3, 2.45, 2.4, 1.45]) / 10.0
    assert apportion(density, 10).tolist() == [2, 3, 2, 2, 1]


@pytest.mark.parametrize("n", [1, 2, 16, 100, 257])
def test_a_batch_of_any_size_gets_as_many_pseudo_labels(n):
    labels = torch.tensor([1.0, 2.0, 2.0, 7.0])
    for pseudo in (kde_pseudo_labels(labels, n, 0.3, 0, 10, 1), label_quantiles(labels, n, 0.3, 0.0, 10.0)):
        assert len(pseudo) == n
        assert torch.equal(pseudo, pseudo.sort().values)


@pytest.mark.parametrize(("labels", "end"), [(agedb, 120), (stsb, 5)])
def test_the_apportioning_option_covers_the_labels_of_the_grid(labels, end):
    y = labels("train")
    grid = LabelGrid(0, 121, 121) if end == 120 else LabelGrid(0, 5, 50)
    method = DistLoss(DistLoss.Hparams(pseudo="kde"))
    method.fit(TrainLabels(y, grid, 4, 512))
    step = 1.0 if end == 120 else 0.1
    golden = kde_pseudo_labels(y, 512, 0.5, 0.0, end, step)
    assert_close(method.pseudo_labels(512, torch.device("cpu")), golden)
    assert len(method.pseudo_labels(30, torch.device("cpu"))) == 30


def test_quantiles_without_smoothing_are_those_of_the_labels():
    assert_close(
        label_quantiles(torch.tensor([1.0, 2.0, 3.0, 4.0]), 4, 1e-4, 0.0, 5.0),
        torch.arange(1.0, 5.0),
        rtol=0,
        atol=0.01,
    )
