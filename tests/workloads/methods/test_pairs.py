"""Methods that look at pairs of a batch: C-Mixup, GAR, ordinal entropy, against loops over the pairs."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from workloads.labels import LabelGrid
from workloads.methods import METHODS
from workloads.methods.cmixup import CMixup, mixing_logits
from workloads.methods.gar import correlation_loss, difference_loss
from workloads.methods.ordinal_entropy import groups, spreading, tightness
from workloads.seam import Batch, Method, Step, TrainLabels

GRID = LabelGrid(0, 30, 30)


def values(n: int, dim: int | None = None, seed: int = 0) -> Tensor:
    shape = (n,) if dim is None else (n, dim)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def method(name: str, **hparams: float) -> Method:
    made = METHODS[name](METHODS[name].Hparams.of(hparams, name))
    made.fit(TrainLabels(torch.arange(30.0), GRID, 4, 32))
    made.seed(0, torch.device("cpu"))
    return made


def batch(x: Tensor, y: Tensor) -> Batch:
    return Batch(x, y, torch.from_numpy(GRID.bin(y.numpy())), torch.arange(len(y)), 0, 0)


def penalty_of(made: Method, z: Tensor, pred: Tensor, y: Tensor) -> Tensor:
    penalty = made.penalty(Step(batch(z, y), z, z, pred[:, None], pred, lambda x: x))
    assert penalty is not None
    return penalty


# GAR


def pairwise_difference(pred: Tensor, y: Tensor) -> Tensor:
    total = pred.new_zeros(())
    for i in range(len(y)):
        for j in range(len(y)):
            total = total + ((pred[i] - pred[j]) - (y[i] - y[j])) ** 2
    return total / len(y) ** 2


def pearson(pred: Tensor, y: Tensor) -> Tensor:
    n = len(y)
    mean_p, mean_y = sum(pred) / n, sum(y) / n
    cov = sum((pred[i] - mean_p) * (y[i] - mean_y) for i in range(n))
    var_p, var_y = sum((p - mean_p) ** 2 for p in pred), sum((t - mean_y) ** 2 for t in y)
    return cov / (var_p * var_y) ** 0.5


@pytest.mark.parametrize("n", [2, 3, 25])
def test_gar_and_its_gradient_equal_the_loops_over_pairs(n: int) -> None:
    y = 10 + 3 * values(n, seed=1)
    results = []
    for loss in (
        lambda pred: 0.3 * pairwise_difference(pred, y) + 2.0 * (1 - pearson(pred, y)),
        lambda pred: penalty_of(method("gar", weight=0.3, shape=2.0), pred[:, None], pred, y),
    ):
        pred = (12 + 2 * values(n)).requires_grad_()
        made = loss(pred)
        results.append((made.detach(), torch.autograd.grad(made, pred)[0]))
    assert_close(results[0], results[1], rtol=1e-5, atol=1e-9)


def test_gar_is_0_for_exact_hits_and_does_not_see_an_offset() -> None:
    y = 10 + 3 * values(9)
    for pred in (y.clone(), y + 7):
        pred.requires_grad_()
        loss = difference_loss(pred, y) + correlation_loss(pred, y)
        (grad,) = torch.autograd.grad(loss, pred)
        assert float(loss.detach()) == pytest.approx(0, abs=1e-12) and grad.abs().max() < 1e-12


@pytest.mark.parametrize(("pred", "y"), [([0.1] * 3, [1.0, 2.0, 4.0]), ([1.0, 2.0], [5.0, 5.0]), ([1.0], [2.0])])
def test_a_correlation_that_is_not_defined_has_no_gradient(pred: list[float], y: list[float]) -> None:
    leaf = torch.tensor(pred, requires_grad=True)
    loss = correlation_loss(leaf, torch.tensor(y))
    assert float(loss.detach()) == 1.0 and torch.autograd.grad(loss, leaf)[0].tolist() == [0.0] * len(pred)


# Ordinal entropy


def unit(z: Tensor) -> Tensor:
    return z / z.norm(dim=1, keepdim=True)


def loops(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Spreading and tightness, pair by pair and sample by sample; a label is a bin."""
    n = len(y)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    apart = [abs(float(y[i] - y[j])) for i, j in pairs]
    spread = z.new_zeros(())
    for (i, j), distance in zip(pairs, apart, strict=True):
        spread = spread - (distance - min(apart)) / max(apart) * ((z[i] - z[j]) ** 2).sum() ** 0.5
    tight = z.new_zeros(())
    for i in range(n):
        same = [j for j in range(n) if int(y[j]) == int(y[i])]
        centre = sum(z[j] for j in same) / len(same)
        if len(same) > 1:
            tight = tight + ((z[i] - centre) ** 2).sum() ** 0.5
    return spread / len(pairs), tight / n


def test_ordinal_entropy_and_its_gradient_equal_the_loops() -> None:
    y = torch.tensor([1.0, 1.5, 3.0, 3.0, 9.2, 12.0, 9.8, 20.0, 3.4], dtype=torch.float64)
    results = []
    for ours in (True, False):
        z = values(len(y), 5).requires_grad_()
        if ours:
            made = penalty_of(method("ordinal_entropy", spread=0.7, tight=3.0), z, y, y)
        else:
            spread, tight = loops(unit(z), y)
            made = 0.7 * spread + 3.0 * tight
        results.append((made.detach(), torch.autograd.grad(made, z)[0]))
    assert_close(results[0], results[1], rtol=1e-5, atol=1e-9)


def test_ordinal_entropy_has_a_finite_gradient_where_features_or_labels_are_equal() -> None:
    for z, y in (
        (torch.ones(6, 3), torch.arange(6.0)),  # equal features
        (torch.zeros(6, 3), torch.arange(6.0)),  # of length 0
        (values(6, 3).float(), torch.full((6,), 4.0)),  # equal labels
        (values(1, 3).float(), torch.full((1,), 4.0)),  # a single row
    ):
        leaf = z.clone().requires_grad_()
        loss = penalty_of(method("ordinal_entropy"), leaf, y, y)
        (grad,) = torch.autograd.grad(loss, leaf)
        assert loss.isfinite() and grad.isfinite().all()


def test_spread_features_are_rewarded_and_tight_ones_too() -> None:
    y, group = torch.tensor([0.0, 0.0, 5.0, 9.0]), torch.tensor([0, 0, 1, 2])
    near, far = unit(torch.tensor([[1.0, 0], [1, 0.1], [1, 0.2], [1, 0.3]])), torch.eye(4)
    assert spreading(far, y) < spreading(near, y) < 0
    assert tightness(near, group) < tightness(far, group)
    assert tightness(far, torch.arange(4)) == 0


def test_groups_number_the_bins_of_a_batch_from_0() -> None:
    assert groups(torch.tensor([70, 3, 70, 12, 3])).tolist() == [2, 0, 2, 1, 0]


# C-Mixup


def test_mates_are_drawn_by_the_similarity_of_labels() -> None:
    y = torch.tensor([1.0, 1.5, 3.0, 9.0])
    made = method("cmixup", bandwidth=1.0)
    assert isinstance(made, CMixup)
    draws = torch.stack([made._drawn(mixing_logits(y, 1.0)) for _ in range(4000)])
    for i in range(4):
        chances = [math.exp(-(float(y[i] - other) ** 2) / 2) for other in y]
        for j in range(4):
            assert float((draws[:, i] == j).float().mean()) == pytest.approx(chances[j] / sum(chances), abs=0.03)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 3)])
def test_a_mixed_row_lies_between_two_of_the_batch_in_input_and_label(shape: tuple[int, ...]) -> None:
    y = 15 + 5 * values(40).float().clamp(-2.9, 2.9)
    x = y.view(-1, *[1] * len(shape)).expand(-1, *shape).clone()  # an input is its label
    given = batch(x, y)
    mixed = method("cmixup", bandwidth=5.0).augment(given)
    assert mixed.x.shape == x.shape and torch.equal(mixed.index, given.index)
    assert_close(mixed.x.flatten(1).mean(1), mixed.y, rtol=1e-5, atol=1e-5)
    assert torch.equal(mixed.bin, torch.from_numpy(GRID.bin(mixed.y.numpy())))
    assert not torch.equal(mixed.y, y) and y.min() <= mixed.y.min() and mixed.y.max() <= y.max()


@pytest.mark.parametrize("alpha", [0.2, 2.0])
def test_shares_are_drawn_from_a_beta_distribution(alpha: float) -> None:
    """Two rows of inputs 0 and 1: with a wide bandwidth the mate is either, and the mixed input tells the share."""
    made, given = method("cmixup", bandwidth=50.0, alpha=alpha), batch(torch.eye(2), torch.tensor([4.0, 5.0]))
    shares = torch.cat([made.augment(given).x.diagonal() for _ in range(3000)])
    mixed = shares[shares < 1]  # else the row is its own mate
    assert len(mixed) / 6000 == pytest.approx(0.5, abs=0.05)
    assert float(mixed.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(mixed.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


def test_inputs_that_are_no_real_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="CMixup needs real inputs"):
        method("cmixup").augment(batch(torch.ones(3, 2, dtype=torch.long), torch.ones(3)))
