"""SERA is the area under the errors of ever more relevant labels."""

import numpy as np
import pytest

from workloads.relevance import relevance, sera


def labels(rows: int = 2000) -> np.ndarray:
    return np.random.default_rng(0).gamma(2.0, 10.0, rows)


def test_relevance_is_none_at_the_median_and_full_at_the_fence_and_beyond() -> None:
    y = labels()
    phi = relevance(y)
    assert phi is not None
    low, median, high = np.quantile(y, (0.25, 0.5, 0.75))
    fence = y[y <= high + 1.5 * (high - low)].max()
    assert phi(np.array([median, (median + fence) / 2, fence, 10 * fence])) == pytest.approx([0, 0.5, 1, 1])
    assert phi(np.array([y.min(), median - 1])) == pytest.approx(0)  # no low outliers
    rising = phi(np.linspace(median, y.max(), 500))
    assert (np.diff(rising) >= 0).all() and (rising >= 0).all() and (rising <= 1).all()
    assert np.diff(phi(np.array([fence - 1e-4, fence, median, median + 1e-4])))[[0, 2]] == pytest.approx(0, abs=1e-6)


def test_with_outliers_on_both_sides_both_tails_are_relevant() -> None:
    y = np.random.default_rng(0).standard_t(2, 2000)
    phi = relevance(y)
    assert phi is not None
    assert phi(np.array([y.min(), np.median(y), y.max()])) == pytest.approx([1, 0, 1])


@pytest.mark.parametrize("y", [np.arange(100.0), np.full(10, 3.0), np.r_[np.zeros(90), np.arange(10.0)]])
def test_labels_without_outliers_or_without_spread_have_no_relevance(y: np.ndarray) -> None:
    assert relevance(y) is None


def test_sera_is_the_integral_over_thresholds_of_relevance() -> None:
    train, y = labels(), labels(300)[::-1]
    pred = y + np.random.default_rng(1).normal(0, 5, len(y))
    phi = relevance(train)
    assert phi is not None
    steps = (np.arange(20_000) + 0.5) / 20_000
    of_row, errors = phi(y), np.square(pred - y)
    area = np.mean([errors[of_row >= t].sum() for t in steps])
    assert sera(pred, y, phi).sum() == pytest.approx(area, rel=1e-4)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_sera_in_another_unit_is_the_same_in_its_square(unit: float) -> None:
    y = labels()
    here, there = relevance(y), relevance(y * unit + 5 * unit)
    assert here is not None and there is not None
    pred = y[::-1]
    moved = sera(pred * unit + 5 * unit, y * unit + 5 * unit, there)
    assert moved / unit**2 == pytest.approx(sera(pred, y, here), rel=1e-6, abs=1e-6)
