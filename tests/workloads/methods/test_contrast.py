"""Contrasts of pairs, Rank-N-Contrast, that of groups and ConR, against loops over the pairs."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.testing import assert_close

from workloads.contrast import rnc_loss
from workloads.distances import pairwise
from workloads.groups import group_of, inner_edges
from workloads.labels import LabelGrid
from workloads.methods import METHODS
from workloads.methods.conr import conr_loss
from workloads.seam import Batch, Step, TrainLabels, View

GRID = LabelGrid(0, 30, 30)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LABELS = {
    "distinct": [3.0, 1.0, 7.5, 2.0, 9.0, 4.0],
    "ties": [3.0, 3.0, 7.0, 7.0, 5.0, 5.0, 3.0, 1.0],
    "equal distances": [1.0, 2.0, 3.0, 4.0, 5.0],
    "all equal": [4.0] * 5,
    "two": [1.0, 4.0],
    "two equal": [4.0, 4.0],
}


def with_gradient(loss: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    z = z.clone().requires_grad_()
    value = loss(z)
    (gradient,) = torch.autograd.grad(value, z)
    return value.detach(), gradient


def minus_distance(a: Tensor, b: Tensor) -> Tensor:
    return -(a - b).norm()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return a @ b / (a.norm() * b.norm())


def rnc_loops(z: Tensor, y: Tensor, t: float, alike: Callable[[Tensor, Tensor], Tensor] = minus_distance) -> Tensor:
    m = len(y)
    total = z.sum() * 0.0
    for i in range(m):
        for j in range(m):
            if i == j:
                continue
            denominator = z.new_zeros(())
            for k in range(m):
                if k != i and abs(y[i] - y[k]) >= abs(y[i] - y[j]):
                    denominator = denominator + (alike(z[i], z[k]) / t).exp()
            total = total - ((alike(z[i], z[j]) / t).exp() / denominator).log()
    return total / (m * (m - 1))


SIMILAR: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "distance": (lambda z: -pairwise(z), minus_distance),
    "cosine": (lambda z: normalize(z, dim=1) @ normalize(z, dim=1).T, cosine),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("t", [2.0, 0.3])
@pytest.mark.parametrize("similar", SIMILAR)
def test_rank_n_contrast_and_its_gradient_are_those_of_the_loops(labels: list[float], t: float, similar: str) -> None:
    y, z = torch.tensor(labels, dtype=torch.float64), drawn(len(labels), 3)
    matrix, one = SIMILAR[similar]
    ours = with_gradient(lambda z: rnc_loss(matrix(z) / t, y), z)
    loops = with_gradient(lambda z: rnc_loops(z, y, t, one), z)
    assert_close(ours[0], loops[0], rtol=1e-5, atol=1e-12)
    assert_close(ours[1], loops[1], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("similar", SIMILAR)
def test_the_similarity_of_a_sample_to_itself_does_not_matter(similar: str) -> None:
    y, alike = torch.tensor(LABELS["ties"]), SIMILAR[similar][0](drawn(8, 3))
    assert torch.equal(rnc_loss(alike, y), rnc_loss(alike.fill_diagonal_(100.0), y))


def test_rank_n_contrast_on_paper() -> None:
    # One feature; distances from the first are 1 and 3, from the second 1 and 2, from the third 3 and 2; t = 1.
    z, y = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0.0, 10.0, 12.0])
    # Row 1: labels at 10 and 12: pair (1, 2) is against both, pair (1, 3) is against itself alone: 0.
    rows = [
        math.log(1 + math.exp(-3 + 1)),
        math.log(1 + math.exp(-1 + 2)),  # row 2: label distances 10 and 2: the near one is the third
        math.log(1 + math.exp(-3 + 2)),
    ]
    assert float(rnc_loss(-pairwise(z), y)) == pytest.approx(sum(rows) / 6)


def test_rank_n_contrast_has_a_finite_gradient_where_features_coincide_and_is_0_for_one_sample() -> None:
    z = torch.zeros(4, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(rnc_loss(-pairwise(z), torch.tensor([1.0, 2.0, 2.0, 5.0])), z)
    assert torch.equal(gradient, torch.zeros(4, 3))
    one = torch.randn(1, 3, requires_grad=True)
    value = rnc_loss(-pairwise(one), torch.tensor([1.0]))
    value.backward()  # type: ignore[no-untyped-call]
    assert float(value.detach()) == 0.0 and one.grad is not None and not one.grad.any()


def conr_loops(z: Tensor, y: Tensor, pred: Tensor, w: Tensor, near: float, t: float, push: float) -> Tensor:
    m = len(y)
    unit = [row / row.norm() for row in z]
    total = z.sum() * 0.0
    for i in range(m):
        same = [j for j in range(m) if j != i and abs(y[i] - y[j]) <= near]
        confused = [j for j in range(m) if abs(y[i] - y[j]) > near and abs(pred[i] - pred[j]) <= near]
        if not same or not confused:
            continue
        attracted = sum((unit[i] @ unit[k] / t).exp() for k in same)
        repelled = sum(w[i] * (push * abs(y[i] - y[k])).exp() * (unit[i] @ unit[k] / t).exp() for k in confused)
        one = -sum(((unit[i] @ unit[j] / t).exp() / (attracted + repelled)).log() for j in same) / len(same)
        total = total + w[i] * one
    return total / m


CONR = {
    "mixed": ([3.0, 3.5, 7.0, 8.0, 20.0, 4.0], [5.0, 5.5, 5.2, 9.0, 5.9, 1.0]),
    "distances of exactly ω": ([3.0, 4.0, 5.0, 6.0, 9.0], [5.0, 6.0, 7.0, 5.0, 6.0]),
    "nothing confused": ([3.0, 3.0, 9.0, 9.0], [3.0, 3.0, 9.0, 9.0]),
    "no neighbour": ([1.0, 5.0, 9.0], [2.0, 2.0, 2.0]),
    "two": ([1.0, 9.0], [2.0, 2.0]),
    "one": ([1.0], [2.0]),
}


@pytest.mark.parametrize(("labels", "preds"), CONR.values(), ids=CONR)
@pytest.mark.parametrize(("t", "push"), [(0.2, 0.01), (0.07, 0.5), (2.0, 0.0)])
def test_conr_and_its_gradient_are_those_of_the_loops(
    labels: list[float], preds: list[float], t: float, push: float
) -> None:
    y, pred = (torch.tensor(values, dtype=torch.float64) for values in (labels, preds))
    z, w = drawn(len(labels), 3), drawn(len(labels), seed=1).abs()
    ours, loops = (with_gradient(lambda z, f=f: f(z, y, pred, w, 1.0, t, push), z) for f in (conr_loss, conr_loops))
    assert_close(ours[0], loops[0], rtol=1e-5, atol=1e-12)
    assert_close(ours[1], loops[1], rtol=1e-5, atol=1e-9)


def test_conr_is_finite_where_a_weight_is_0_and_where_exponents_are_large() -> None:
    y, pred = torch.tensor([0.0, 0.0, 90.0, 50.0]), torch.zeros(4)
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = conr_loss(z, y, pred, torch.tensor([0.0, 1.0, 1.0, 1.0]), 1.0, 0.005, 3.0)
    value.backward()  # type: ignore[no-untyped-call]
    assert value.isfinite() and z.grad is not None and z.grad.isfinite().all()


def step_of(z: Tensor, y: Tensor, pred: Tensor, again: View | None = None, w: Tensor | float = 1.0) -> Step:
    batch = Batch(z, y, torch.from_numpy(GRID.bin(y.numpy())), torch.arange(len(y)), 0, 0)
    other = None if again is None else (lambda: again)
    return Step(batch, z, z, pred[:, None], pred, lambda x: x, w, other)


@pytest.mark.parametrize("name", ["conr", "rnc", "group_contrast"])
def test_both_views_take_part_with_the_labels_and_weights_of_their_rows(name: str) -> None:
    method = METHODS[name](METHODS[name].Hparams())
    method.fit(TrainLabels(torch.arange(30.0), GRID, 3, 4))
    y, pred = torch.tensor([3.0, 3.5, 7.0, 20.0], dtype=torch.float64), drawn(4, seed=2)
    z, other, w = drawn(4, 3).requires_grad_(), drawn(4, 3, seed=3), drawn(4, seed=4).abs()
    made = method.penalty(step_of(z, y, pred, View(other, pred + 0.1), w))
    both, twice = torch.cat([z, other]), y.repeat(2)
    if name == "conr":
        expected = 4.0 * conr_loops(both, twice, torch.cat([pred, pred + 0.1]), w.repeat(2), 1.0, 0.2, 0.01)
    elif name == "group_contrast":
        groups = torch.tensor([1, 1, 2, 6] * 2)  # ten parts of 0 … 29, of 2.9 each
        expected = rnc_loops(both, groups, 2.0, cosine)
    else:
        expected = rnc_loops(both, twice, 2.0)
    assert made is not None
    assert_close(made, expected, rtol=1e-5, atol=0)
    assert method.penalty(step_of(z.detach(), y, pred)) is None  # a frozen encoder leaves nothing to learn


@pytest.mark.parametrize("equal", [False, True])
def test_the_contrast_of_groups_has_a_finite_gradient_for_features_of_zeros_and_for_equal_labels(equal: bool) -> None:
    method = METHODS["group_contrast"](METHODS["group_contrast"].Hparams())
    y = torch.full((4,), 7.0) if equal else torch.tensor([1.0, 2.0, 2.0, 29.0])
    method.fit(TrainLabels(y, GRID, 3, 4))
    z = torch.zeros(4, 3, requires_grad=True)
    made = method.penalty(step_of(z, y, y))
    assert made is not None
    (gradient,) = torch.autograd.grad(made, z)
    assert made.isfinite() and gradient.isfinite().all()


def test_groups_are_equal_parts_of_the_range_and_an_edge_belongs_to_the_upper_one() -> None:
    edges = inner_edges(torch.tensor([2.0, 10.0, 3.0]), 4)
    assert edges.tolist() == [4.0, 6.0, 8.0]
    assert group_of(torch.tensor([-5.0, 2.0, 4.0, 5.9, 8.0, 99.0]), edges).tolist() == [0, 0, 1, 1, 3, 3]
