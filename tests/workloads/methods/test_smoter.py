"""Synthetic rare samples."""

import pytest
import torch
from torch.testing import assert_close

from workloads.labels import LabelGrid
from workloads.methods.smoter import SMOGN, SmoteR, rare_bins
from workloads.seam import Batch, TrainLabels

GRID = LabelGrid(0, 10, 10)
TRAIN = torch.tensor([2.0] * 50 + [5.0] * 40 + [8.0] * 4 + [9.0] * 3)


def make(kind, **hparams):
    method = kind(kind.Hparams.of(hparams, "smoter"))
    method.fit(TrainLabels(TRAIN, GRID, 3, 16))
    method.seed(0, torch.device("cpu"))
    return method


def batch(y, shape=(4,)):
    generator = torch.Generator().manual_seed(0)
    x = y.view(-1, *[1] * len(shape)) + 0.1 * torch.randn(len(y), *shape, generator=generator)
    return Batch(x, y, torch.from_numpy(GRID.bin(y.numpy())), torch.arange(len(y)), 0, 0)


def test_the_least_populated_bins_are_rare():
    counts = GRID.counts(TRAIN.numpy())
    assert torch.nonzero(rare_bins(counts, 0.1)).flatten().tolist() == [8, 9]
    assert torch.nonzero(rare_bins(counts, 0.05)).flatten().tolist() == [9]
    assert torch.nonzero(rare_bins(counts, 0.001)).flatten().tolist() == [9]
    assert not rare_bins(GRID.counts([1.0, 2.0]), 0.5).any()


@pytest.mark.parametrize("shape", [(4,), (2, 3, 3)])
def test_rows_between_rare_ones_take_the_place_of_common_ones(shape):
    given = batch(torch.tensor([2.0] * 12 + [5.0] * 8 + [8.0, 8.0, 9.0, 9.0]), shape)
    made = make(SmoteR, replaced=0.25).augment(given)
    assert made.x.shape == given.x.shape
    new = (made.x != given.x).flatten(1).any(1)
    assert new.sum() == 6 and not new[20:].any()
    assert (made.y[new] >= 8).all() and (made.y[new] <= 9).all()
    assert torch.equal(made.bin, torch.from_numpy(GRID.bin(made.y.numpy())))
    assert (made.index[new] >= 20).all()
    # Inputs follow their labels here, so interpolated ones do too.
    assert (made.x[new].flatten(1).mean(1) - made.y[new]).abs().max() < 0.3


@pytest.mark.parametrize("kind", [SmoteR, SMOGN])
def test_a_batch_without_rare_rows_stays(kind):
    given = batch(torch.tensor([2.0] * 12 + [5.0] * 8))
    made = make(kind).augment(given)
    for name in ("x", "y", "bin", "index"):
        assert torch.equal(getattr(made, name), getattr(given, name))


def test_a_single_rare_row_is_repeated_by_smoter_and_varied_by_smogn():
    given = batch(torch.tensor([2.0] * 12 + [5.0] * 7 + [9.0]))
    made = make(SmoteR, replaced=0.2).augment(given)
    assert (made.x == given.x[-1]).all(1).sum() == 5
    made = make(SMOGN, replaced=0.2).augment(given)
    near = (made.x - given.x[-1]).abs().amax(1)
    assert ((near > 0) & (near < 1)).sum() == 4


def test_smogn_interpolates_to_near_rows_and_adds_noise_to_far_ones():
    y = torch.tensor([2.0] * 20 + [8.0, 8.0, 9.0, 9.0, 9.0])
    given = batch(y)
    x = given.x.clone()
    x[20:22] += 1000.0  # two rare rows near each other and far from the rest
    given = Batch(x, y, given.bin, given.index, 0, 0)
    made = make(SMOGN, replaced=0.5, noise=0.001).augment(given)
    new = (made.x != given.x).any(1)
    from_near = made.x[new].mean(1) > 500
    assert from_near.any()
    nearest = torch.cdist(made.x[new], x[20:]).min(1).values
    assert (nearest[~from_near] < 10).all()


@pytest.mark.parametrize("kind", [SmoteR, SMOGN])
def test_what_cannot_be_interpolated_is_refused(kind):
    given = batch(torch.tensor([2.0] * 5))
    with pytest.raises(ValueError, match="real inputs"):
        make(kind).augment(Batch(given.x.long(), given.y, given.bin, given.index, 0, 0))


def test_the_draws_come_from_the_methods_own_stream():
    given = batch(torch.tensor([2.0] * 12 + [5.0] * 8 + [8.0, 8.0, 9.0, 9.0]))
    first = make(SMOGN).augment(given)
    torch.manual_seed(123)
    assert torch.equal(first.x, make(SMOGN).augment(given).x)


def test_drawn_places_are_different_wanted_ones_and_each_as_likely():
    method = make(SmoteR)
    wanted = torch.tensor([True, False, True, True, False])
    drawn = torch.stack([method._drawn(wanted, 2) for _ in range(3000)])
    assert (drawn[:, 0] != drawn[:, 1]).all()
    shares = torch.bincount(drawn.flatten(), minlength=5) / 3000
    assert_close(shares, torch.tensor([2 / 3, 0.0, 2 / 3, 2 / 3, 0.0]), rtol=0, atol=0.04)
    beyond = method._drawn(wanted, 4)  # once the wanted ones run out, others follow
    assert set(beyond[:3].tolist()) == {0, 2, 3} and int(beyond[3]) in {1, 4}
