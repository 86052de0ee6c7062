"""Controls: fitted lines are what they are said to be, and nothing of them looks at test labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from orchestrator.report.controls import affine, controls, held_out_weights, isotonic
from orchestrator.storage.store import open_store
from workloads import WORKLOADS
from workloads.labels import Floats, LabelGrid
from workloads.workload import Data, Table, Units, Workload


def small(rows: int = 300) -> tuple[Workload, Data]:
    """A made-up table on blood pressure's grid: labels with a tail, inputs that say something of them."""
    rng = np.random.default_rng(0)
    y = (110 + 12 * rng.gamma(1.5, 1.0, rows)).clip(70, 230).astype(np.float32)
    x = np.stack([y + rng.normal(0, 10, rows), rng.normal(0, 1, rows)], axis=1).astype(np.float32)
    cuts = (slice(0, 200), slice(200, 250), slice(250, 300))
    train, val, test = (Table(torch.from_numpy(x[cut]), torch.from_numpy(y[cut])) for cut in cuts)
    return WORKLOADS["nhanes-sbp"], Data(train, val, test, Units(120, 15), "made-up")


def least_deviations(pred: Floats, y: Floats) -> float:
    """The least sum of |y - a - b pred|, as a linear program of its own."""
    n = len(y)
    design = np.stack([np.ones(n), pred], axis=1)
    found = linprog(
        np.r_[0, 0, np.ones(n)],
        A_ub=np.block([[design, -np.eye(n)], [-design, -np.eye(n)]]),
        b_ub=np.r_[y, -y],
        bounds=[(None, None)] * 2 + [(0, None)] * n,
    )
    return float(found.fun)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_the_line_has_the_least_absolute_deviations_in_any_unit(unit: float) -> None:
    rng = np.random.default_rng(1)
    pred = rng.normal(100, 10, 80)
    y = 30 + 0.8 * pred + rng.standard_t(2, 80) * 5
    line = affine(pred * unit, y * unit)
    assert np.abs(line(pred * unit) - y * unit).sum() / unit == pytest.approx(least_deviations(pred, y), rel=1e-5)


def test_a_constant_prediction_is_left_alone() -> None:
    pred = np.full(20, 0.1)
    assert np.array_equal(affine(pred, np.arange(20.0))(pred), pred)


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


def test_controls_are_rows_of_their_own_and_do_not_look_at_test_labels(tmp_path: Path) -> None:
    workload, data = small()
    rng = np.random.default_rng(3)
    validated = {n: (rng.normal(120, 10, 50), rng.normal(120, 10, 50)) for n in range(2)}
    found = controls(workload, data, "l1", validated, open_store(str(tmp_path / "a")))
    names = [control.name for control in found]
    assert names[:2] == ["training median", "training mean"]
    assert {"l1, affine on validation", "l1, isotonic on validation", "ridge", "ridge, affine out of fold"} <= set(
        names
    )
    blind = replace(data, test=Table(data.test.inputs(torch.arange(50), torch.device("cpu")), torch.zeros(50)))
    for ours, theirs in zip(
        found, controls(workload, blind, "l1", validated, open_store(str(tmp_path / "b"))), strict=True
    ):
        for seed, pred in ours.predictions.items():
            assert np.array_equal(pred, theirs.predictions[seed])


def test_what_depends_on_the_data_alone_is_fitted_once(tmp_path: Path) -> None:
    workload, data = small()
    store = open_store(str(tmp_path))
    first = controls(workload, data, "l1", {}, store)
    (key,) = store.keys("controls/")
    written = store.get(key)
    second = controls(workload, data, "l1", {}, store)
    assert [c.name for c in first] == [c.name for c in second]
    assert all(np.array_equal(a.predictions[None], b.predictions[None]) for a, b in zip(first, second, strict=True))
    store.put(key, b"rotten")
    controls(workload, data, "l1", {}, store)
    assert store.get(key) == written


def test_classes_have_no_such_controls(tmp_path: Path) -> None:
    workload = WORKLOADS["digits-lt"]
    assert controls(workload, workload.load(None), "cross_entropy", {}, open_store(str(tmp_path))) == []
