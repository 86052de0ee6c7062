"""The page's part on hyperparameters: what its figures and words show is what the functions compute."""

from pathlib import Path

import numpy as np
import pytest

from builders import study
from orchestrator.api import outcome
from orchestrator.report.figures.budget import budget_curves
from orchestrator.report.figures.heat_map import heat_maps as draw_maps
from orchestrator.report.figures.learning import learning_curves as draw_learning
from orchestrator.report.figures.responses import responses as draw_responses
from orchestrator.report.page.parts import hyperparameters as module
from orchestrator.report.page.parts.hyperparameters import hyperparameters
from orchestrator.report.search.axes import Response, heat_maps, responses
from orchestrator.report.search.budget import budget_curve
from orchestrator.report.search.learning import learning_curves
from reported import declared, filled

RULE = "val/mae/all"


def test_figures_draw_the_numbers(tmp_path: Path) -> None:
    state = filled(tmp_path, recipes={"also": ["l1", "l1 + lds"]}, tune={"trials": 5, "sampler": "random"})
    (section,) = state.sections
    plain, lds = section.plans
    curve = budget_curve(lds, RULE)
    assert curve is not None
    left, right = budget_curves({"l1 + lds": curve}, RULE).figure.axes
    assert np.allclose(left.lines[0].get_ydata(), curve.best)
    assert right.lines[0].get_ydata() == [curve.test]
    found = responses(section.plans, RULE)
    axes = draw_responses(found, RULE).figure.axes
    assert (
        [one.get_xlabel() for one in axes]
        == [one.name for one in found]
        == ["train.lr", "train.weight_decay", "lds.width", "lds.sigma"]
    )
    assert np.allclose(axes[0].lines[0].get_ydata(), found[0].behind)
    maps = heat_maps(section.plans, RULE)
    drawn = draw_maps(maps, RULE).figure.axes
    assert np.allclose(drawn[0].collections[0].get_array().filled(np.nan), maps[0].behind, equal_nan=True)
    learnt = learning_curves(plain, RULE)
    assert learnt is not None
    left, _ = draw_learning({"l1": learnt}, RULE).figure.axes
    assert np.allclose(left.lines[0].get_ydata(), np.nanmean(learnt.score, axis=0), equal_nan=True)


def test_of_thousands_of_trials_some_are_points_and_all_are_in_the_means() -> None:
    values = np.linspace(1.0, 2.0, 5000)
    behind = np.where(np.arange(5000) % 3, 1.0, 4.0)
    one = Response("lds.sigma", False, ("l1 + lds",) * 5000, values, behind)
    drawn = draw_responses([one], RULE)
    points, means = drawn.figure.axes[0].lines
    assert len(points.get_xdata()) == 500 and "Of more than 500 trials" in drawn.text
    assert np.allclose(means.get_ydata(), 2.0, atol=0.01)


def test_of_many_hyperparameters_those_with_the_most_trials_have_a_panel() -> None:
    sizes = [(7 * k) % 20 + 2 for k in range(20)]
    found = [
        Response(f"part.h{k}", False, ("l1",) * n, np.linspace(0.0, 1.0, n), np.zeros(n)) for k, n in enumerate(sizes)
    ]
    drawn = draw_responses(found, RULE)
    shown = [axes.get_xlabel() for axes in drawn.figure.axes]
    assert shown == [f"part.h{k}" for k, n in enumerate(sizes) if n > 5]
    assert "Of 20 hyperparameters the 16 with the most trials are shown." in drawn.text


def test_the_part_says_how_flat_the_optimum_is_and_from_when_on_importance_is_told(tmp_path: Path) -> None:
    fixed = {"lr": 1e-3, "weight_decay": 0.0}
    state = filled(tmp_path, tune={"trials": 3, "sampler": "random"}, train={"epochs": 2, **fixed})
    (section,) = state.sections
    part = hyperparameters(state.results, section)
    assert part is not None
    assert "3 completed trials: importance is told from 30 on" in part.body and "nothing is searched" in part.body
    assert "of 3 within" in part.body
    assert [drawing.name for drawing in part.figures] == ["budget", "responses", "kernels", "learning"]


def test_a_figure_has_the_lines_of_bases_and_the_best_where_there_are_too_many_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    also = ["l1", "l1 + lds", "l1 + fds"]
    state = filled(tmp_path, recipes={"also": also}, tune={"trials": 2, "sampler": "random"})
    (section,) = state.sections

    def lines() -> list[list[str]]:
        part = hyperparameters(state.results, section)
        assert part is not None
        axes = [next(one for one in part.figures if one.name == name).figure.axes for name in ("budget", "learning")]
        return [[line.get_label().split("  ")[-1] for line in left.lines] for left, _ in axes]

    assert lines() == [also, also]
    monkeypatch.setattr(module, "MOST", 2)
    best = min(also[1:], key=lambda name: np.mean(section.runs[name]))
    assert lines() == [["l1", best]] * 2


def test_a_study_without_ended_trials_has_no_such_part(tmp_path: Path) -> None:
    state = outcome(study(workloads=[declared(tmp_path)], storage=str(tmp_path / "results")))
    assert hyperparameters(state.results, state.sections[0]) is None
