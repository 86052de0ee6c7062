"""Curves by label and calibration: small examples, counted by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import orchestrator.report.featured as module
from orchestrator.report.featured import Featured, alike, calibration, featured, half_window, label_error, roles
from reported import filled
from workloads.labels import LabelGrid


def shown(y: list[float], *preds: list[float]) -> Featured:
    """A row of the table."""
    return Featured("l1", "base", np.array(y), np.array(preds))


def test_the_error_by_label_is_the_mean_of_the_rows_in_the_window_over_all_seeds() -> None:
    one = shown([71.0, 71.5, 75.0], [72.0, 72.5, 72.0], [74.0, 74.5, 78.0])
    errors = label_error(one, "nhanes-sbp", 1)  # bins of 2 from 70: the rows lie in bins 0, 0 and 2
    assert errors[:4].tolist() == [2.0, 7 / 3, 3.0, 3.0]
    assert np.isnan(errors[4:]).all()


def test_the_window_is_a_twelfth_of_what_is_tested() -> None:
    grid = LabelGrid(0.0, 100.0, 100)
    assert half_window(grid, np.array([10.5, 69.5])) == 2  # 60 bins: five in the window
    assert half_window(grid, np.array([10.5, 11.5])) == 0


@pytest.mark.parametrize("slope", [0.5, 1.0])
def test_the_calibration_curve_shows_how_far_predictions_follow_labels(slope: float) -> None:
    y = np.linspace(0, 100, 301)
    pred, label = calibration(shown(list(y), list(50 + slope * (y - 50))), groups=10)
    assert len(pred) == 10 and (np.diff(pred) > 0).all()
    assert label - 50 == pytest.approx((pred - 50) / slope)


def test_a_constant_prediction_is_one_point_at_the_mean_label() -> None:
    pred, label = calibration(shown([1.0, 2.0, 6.0], [4.0, 4.0, 4.0]))
    assert (pred.tolist(), label.tolist()) == ([4.0], [3.0])


def test_every_replicate_is_in_the_predictions_of_its_row(tmp_path: Path) -> None:
    tune = {"trials": 1, "sampler": "random", "replicates": 3}
    state = filled(tmp_path, recipes={"also": ["l1"]}, tune=tune, evaluate={"seeds": 2})
    (section,) = state.sections
    (base,) = [one for one in featured(section, state.ledger) if one.recipe == "l1"]
    assert len(base.preds) == 6
    assert [plan.label for plan in section.plans] == ["l1", "l1 (replicate 1)", "l1 (replicate 2)"]


def test_of_many_rows_alike_the_best_those_with_the_best_means_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = filled(tmp_path, recipes={"also": ["l1", "l1 + lds", "l1 + fds", "mse"]})
    (section,) = state.sections
    every = [row.recipe for row in section.table.rows]
    table = replace(section.table, best={section.table.primary: frozenset(every)})
    section, means = (
        replace(section, table=table),
        {row.recipe: row.scores[table.primary].mean for row in table.recipes},
    )
    assert [row.recipe for row in alike(table)] == list(means)
    monkeypatch.setattr(module, "MOST", 2)
    best = sorted(means, key=means.__getitem__)[:2]
    shown = {recipe for recipe, role in roles(section).items() if role in ("also", "best")}
    assert shown == {*best} - {*table.bases}
