"""Conformal correction of predicted quantiles."""

import numpy as np
import pytest

from workloads.labels import Floats
from workloads.methods.conformal import Conformal, conformal_quantile
from workloads.seam import HeldOut, Output


def said(pred: Floats) -> Output:
    return Output(np.empty((len(pred), 0)), pred)


def adjusted(pred: Floats, y: Floats, new: Floats, **hparams: float) -> Floats:
    made = Conformal(Conformal.Hparams.of(hparams, "conformal"))
    return made.adjust(HeldOut(said(pred), y, np.ones(len(y))))(said(new)).pred


@pytest.mark.parametrize(
    ("n", "level", "place"), [(9, 0.9, 9), (9, 0.5, 5), (10, 0.5, 6), (19, 0.95, 19), (4, 0.95, 4), (9, 0.05, 1)]
)
def test_the_quantile_counts_one_row_more(n: int, level: float, place: int) -> None:
    errors = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    assert conformal_quantile(errors, level) == place


def test_every_region_of_predictions_has_its_own_shift() -> None:
    pred = np.repeat([0.0, 10.0], 9)
    y = pred + np.concatenate([np.arange(1.0, 10.0), -np.arange(1.0, 10.0)])
    # ⌈10 · 0.9⌉ = 9: the largest of 1 … 9, and of −9 … −1.
    made = adjusted(pred, y, np.array([-5.0, 0.0, 10.0, 70.0]), level=0.9, regions=2)
    assert made.tolist() == [4.0, 9.0, 9.0, 69.0]


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_new_rows_of_every_region_are_held_by_at_least_their_share(level: float) -> None:
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 1, 40_000)
    y = x + (0.1 + x) * generator.standard_normal(len(x))  # rare, wide errors where x is large
    held, new = slice(0, 20_000), slice(20_000, None)
    made = adjusted(x[held], y[held], x[new], level=level, regions=4)
    for region in range(4):
        inside = (x[new] >= region / 4) & (x[new] < (region + 1) / 4)
        assert np.mean(y[new][inside] <= made[inside]) == pytest.approx(level, abs=0.02)


def test_few_and_equal_predictions_are_one_region() -> None:
    assert adjusted(np.array([2.0]), np.array([5.0]), np.array([1.0])).tolist() == [4.0]
    made = adjusted(np.full(9, 2.0), np.arange(9.0), np.array([2.0, 3.0]), level=0.5, regions=5)
    assert made.tolist() == [4.0, 5.0]  # the fifth of −2 … 6 is 2
