"""Surrogate-driven representation learning against loops over centres, points and samples."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from workloads.labels import LabelGrid
from workloads.methods.srl import SRL, envelope, steps
from workloads.seam import Batch, Step, TrainLabels

GRID = LabelGrid(0, 6, 6)
TRAIN = torch.tensor([0.0, 0.0, 1.0, 3.0, 3.0, 4.0])  # no row in bins 2 and 5


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def method(**hparams: float) -> SRL:
    made = SRL(SRL.Hparams.of({"embedding": 4, **hparams}, "srl"))
    made.fit(TrainLabels(TRAIN, GRID, 3, 4))
    return made.double()


def step_of(z: Tensor, y: list[float]) -> Step:
    labels = torch.tensor(y)
    return Step(Batch(z, labels, labels.long(), torch.arange(len(y)), 0, 0), z, z, z, labels, lambda x: x)


def unit(v: Tensor) -> Tensor:
    return v / v.norm()


def loops(made: SRL, z: Tensor, y: list[float], surrogates: dict[int, Tensor], t: float) -> Tensor:
    e = [unit(made.embed.weight @ row) for row in z]
    centres = dict(surrogates)
    for b in set(y):
        centres[int(b)] = unit(sum(e[i] for i in range(len(y)) if y[i] == b))
    order = sorted(centres)
    even = sum((centres[b] - centres[a]).square().sum() for a, b in itertools.pairwise(order))
    cover = 1 - sum(max(u @ centres[b] for b in order) for u in made.points) / len(made.points)
    near = z.sum() * 0
    for row, label in zip(e, y, strict=True):
        scores = {b: row @ centres[b].detach() / t for b in order}
        near = near - torch.log(scores[int(label)].exp() / sum(s.exp() for s in scores.values())) / len(y)
    return 10.0 * near + 100.0 * cover + 0.01 * even


@pytest.mark.parametrize("y", [[0.0, 0.0, 3.0, 4.0], [1.0, 1.0], [3.0], [0.0, 1.0, 3.0, 4.0]])
@pytest.mark.parametrize("later", [False, True])
def test_the_penalty_and_its_gradients_equal_the_loops(y: list[float], later: bool) -> None:
    made, surrogates = method(), {}
    if later:
        seen, labels = drawn(4, 3, seed=1).requires_grad_(), [0.0, 0.0, 1.0, 3.0]
        assert made.penalty(step_of(seen, labels)) is not None
        made.end_epoch(0, lambda train_mode=False: (seen, TRAIN))
        e = [unit(made.embed.weight @ row).detach() for row in seen]
        surrogates = {0: unit(e[0] + e[1]), 1: e[2], 3: e[3]}
    z = drawn(len(y), 3).requires_grad_()
    results = []
    for ours in (True, False):
        value = made.penalty(step_of(z, y)) if ours else loops(made, z, y, surrogates, 0.3)
        assert value is not None
        results.append((value.detach(), *torch.autograd.grad(value, [z, made.embed.weight])))
    assert_close(results[0], results[1], rtol=1e-5, atol=1e-8)


def test_surrogates_move_by_their_momentum_and_stay_where_an_epoch_has_no_row() -> None:
    made = method(momentum=0.5)
    for epoch in range(2):
        made.penalty(step_of(drawn(2, 3, seed=epoch).requires_grad_(), [0.0, 4.0 * epoch]))
        made.end_epoch(epoch, lambda train_mode=False: (TRAIN, TRAIN))
    e = [[unit(made.embed.weight @ row).detach() for row in drawn(2, 3, seed=epoch)] for epoch in range(2)]
    first = unit(e[0][0] + e[0][1])
    assert made.known.tolist() == [True, False, False, True]
    assert_close(made.surrogate[0], unit(0.5 * first + 0.5 * e[1][0]))
    assert_close(made.surrogate[3], e[1][1])
    assert made.penalty(step_of(drawn(2, 3), [0.0, 4.0])) is None  # nothing can be learned from a frozen encoder


def test_two_opposite_centres_on_a_circle_cover_it_on_paper() -> None:
    angle = torch.arange(3600, dtype=torch.float64) / 3600 * 2 * torch.pi
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    centres, known = (
        torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64),
        torch.tensor([1, 0, 1]) > 0,
    )
    assert float(envelope(circle, centres, known)) == pytest.approx(1 - 2 / torch.pi, abs=1e-6)
    assert float(steps(centres, known)) == 4.0
    assert float(steps(centres, torch.tensor([True, True, True]))) == 4.0
    assert float(steps(centres, torch.tensor([False, True, False]))) == 0.0


def test_a_label_in_an_empty_bin_counts_for_the_nearest_bin_with_rows() -> None:
    assert method().place.tolist() == [0, 1, 1, 2, 3, 3]
