"""Fitted lines and curves are the best of their kind, in any unit and with weights."""

import numpy as np
import pytest
from scipy.optimize import linprog

from workloads.labels import Floats, LabelGrid
from workloads.recalibration import affine, folds_of, held_out_weights, isotonic


def scattered(rows: int = 80) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(1)
    pred = rng.normal(100, 10, rows)
    return pred, 30 + 0.8 * pred + rng.standard_t(2, rows) * 5


def least_deviations(pred: Floats, y: Floats, weights: Floats) -> float:
    """The least sum of w |y - a - b pred|, as a linear program."""
    n = len(y)
    design = np.stack([np.ones(n), pred], axis=1)
    found = linprog(
        np.r_[0, 0, weights],
        A_ub=np.block([[design, -np.eye(n)], [-design, -np.eye(n)]]),
        b_ub=np.r_[y, -y],
        bounds=[(None, None)] * 2 + [(0, None)] * n,
    )
    return float(found.fun)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_line_has_the_least_absolute_deviations_in_any_unit(unit: float, weighted: bool) -> None:
    pred, y = scattered()
    weights = np.random.default_rng(2).gamma(0.3, 1.0, len(y)) if weighted else np.ones(len(y))
    line = affine(pred * unit, y * unit, weights if weighted else None)
    left = weights @ np.abs(line(pred * unit) - y * unit) / unit
    assert left == pytest.approx(least_deviations(pred, y, weights), rel=1e-6)


def test_a_line_through_all_labels_is_found_whatever_its_slope() -> None:
    pred, _ = scattered()
    for slope in (-3.0, 0.0, 1e-3, 50.0):
        assert affine(pred, 7 + slope * pred)(pred) == pytest.approx(7 + slope * pred, abs=1e-5 * (1 + abs(slope)))


@pytest.mark.parametrize("fit", [affine, isotonic])
def test_a_row_of_weight_three_counts_as_three_rows_and_one_without_weight_as_none(fit) -> None:
    pred, y = scattered(40)
    weights = np.arange(40) % 4
    ours = fit(pred, y, weights.astype(float))
    theirs = fit(np.repeat(pred, weights), np.repeat(y, weights))
    on = np.linspace(60, 140, 50)
    spread = np.repeat(y, weights).std() / np.repeat(pred, weights).std()
    assert ours(on) == pytest.approx(theirs(on), abs=1e-5 * spread * 100)


@pytest.mark.parametrize("weights", [None, np.r_[np.zeros(10), 1.0, np.zeros(9)]])
def test_predictions_that_are_all_equal_are_left_alone(weights: Floats | None) -> None:
    pred = np.full(20, 0.1) if weights is None else np.arange(20.0)
    assert np.array_equal(affine(pred, np.arange(20.0) ** 2, weights)(pred), pred)


def test_the_curve_is_that_of_isotonic_regression() -> None:
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(2)
    pred = rng.normal(0, 1, 200).round(1)  # with ties
    y, weights = pred**3 + rng.normal(0, 0.5, 200), rng.random(200)
    on = np.linspace(-10, 10, 500)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(pred, y, sample_weight=weights)
    assert isotonic(pred, y, weights)(on) == pytest.approx(theirs.predict(on))


def test_the_curve_never_falls_and_is_constant_beyond_its_ends() -> None:
    rng = np.random.default_rng(2)
    pred = rng.normal(0, 1, 200)
    curve = isotonic(pred, pred**3 + rng.normal(0, 0.5, 200))
    made = curve(np.linspace(-10, 10, 500))
    assert (np.diff(made) >= 0).all()
    assert made[0] == curve(np.array([pred.min()]))[0]


def test_weights_give_training_rows_the_held_out_distribution() -> None:
    grid = LabelGrid(0.0, 4.0, 4)
    y, held_out = np.array([0.5] * 6 + [1.5] * 2 + [3.5] * 2), np.array([0.5, 1.5, 1.5, 1.5])
    weights = held_out_weights(y, held_out, grid)
    assert weights.mean() == pytest.approx(1.0)
    shares = np.bincount(grid.bin(y), weights=weights, minlength=4) / len(y)
    assert shares == pytest.approx([0.25, 0.75, 0, 0])
    assert held_out_weights(y, np.array([2.5]), grid) == pytest.approx(1.0)


def test_folds_are_alike_in_labels_and_in_size() -> None:
    y = np.random.default_rng(0).gamma(1.0, 1.0, 100)
    fold = folds_of(y, 3)
    assert sorted(np.bincount(fold)) == [33, 33, 34]
    assert all(len(set(fold[rows])) == 3 for rows in np.split(np.argsort(y)[:99], 33))
