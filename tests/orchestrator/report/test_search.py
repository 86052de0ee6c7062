"""What is said of hyperparameters, against brute force."""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import record, score, study
from orchestrator import yaml12
from orchestrator.report.search.axes import heat_maps, responses
from orchestrator.report.search.best import best_yaml
from orchestrator.report.search.budget import budget_curve, expected_best, shares
from orchestrator.report.search.flatness import flatness, noise_of
from orchestrator.report.search.importance import ENOUGH, importance
from orchestrator.report.search.learning import learning_curves
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.cells import Trial, expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from workloads.hparams import Float, Value

RULE = "val/mae/all"
Judge = Callable[[Trial, Mapping[str, Value]], float]


def searched(judge: Judge, trials: int = 4, seeds: int = 3, **changes: Any) -> tuple[Study, list[CellPlan]]:
    """A study whose trials score what `judge` makes of them and their settings."""
    tune = {"trials": trials, "sampler": "random", "parallel": 1, "rescore": 1}
    made = study(tune=tune, evaluate={"seeds": seeds}, **changes)
    planner = Planner(made, expand(made), lambda trial_id, phase: None)
    while (trial := planner.next()) is not None:
        (plan,) = (plan for plan in planner.plans if plan.cell.name == trial.cell.name)
        value = judge(trial, {**plan.cell.fixed, **trial.settings})
        planner.finish(trial, record(trial, value, versions={}))
    return made, planner.plans


def by_number(trial: Trial, settings: Mapping[str, Value]) -> float:
    return 5.0 - 0.5 * trial.number if trial.phase == "tune" else 3.5 + 0.1 * trial.number


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=7))
def test_the_expected_best_of_b_is_the_mean_over_all_choices_of_b_trials(values: list[float]) -> None:
    for sign, best in ((1.0, min), (-1.0, max)):
        brute = [np.mean([best(choice) for choice in combinations(values, b)]) for b in range(1, len(values) + 1)]
        assert expected_best(values, sign) == pytest.approx(brute, abs=1e-9)


def test_shares_of_a_large_budget_are_chances() -> None:
    for b in (1, 7, 500, 1000):
        assert shares(1000, b).sum() == pytest.approx(1.0)


def test_a_budget_curve_ends_at_the_selected_trial_and_has_its_test() -> None:
    _, (plain, _) = searched(by_number)
    curve = budget_curve(plain, RULE)
    assert curve is not None and plain.selected is not None
    assert curve.best[-1] == plain.selected.score(RULE)
    assert curve.test == pytest.approx(3.6)
    assert (np.diff(curve.best) <= 0).all()


def test_nothing_is_said_of_a_cell_without_trials() -> None:
    made = study()
    plan = CellPlan(expand(made)[0])
    assert (budget_curve(plan, RULE), flatness(plan, RULE), learning_curves(plan, RULE)) == (None, None, None)
    assert responses([plan], RULE) == heat_maps([plan], RULE) == []
    assert importance(plan, RULE).shares == {}
    assert "has not ended" in best_yaml([plan], RULE)


@pytest.mark.parametrize("recipe", ["l1", "l1 + lds", "l1 + fds + ranksim", "focal_l1 + lds"])
def test_a_study_with_the_best_settings_evaluates_the_very_same_trials(recipe: str) -> None:
    sigma = {"lds.sigma": {"low": 0.7, "high": 3.3}} if "lds" in recipe else {}
    made, plans = searched(
        by_number, recipes={"also": [recipe]}, space={**sigma, "train.lr": {"low": 1e-5, "high": 0.1}}
    )
    (plan,) = plans
    found = yaml12.load(best_yaml(plans, made.tune.select_by), "best.yaml")[plan.cell.name]
    assert plan.selected is not None and plan.selected.number == 3
    assert found[RULE] == plan.selected.score(RULE)
    again = study(
        recipes={"also": [recipe]},
        tune={"trials": 1},
        train=found["train"],
        space=found["space"],
        evaluate={"seeds": 3},
    )
    (cell,) = expand(again)
    assert not cell.axes
    planner = Planner(again, [cell], lambda trial_id, phase: None)
    trial = planner.next()
    assert trial is not None
    planner.finish(trial, record(trial, 1.0))
    ours = [t.id for t in planner.plans[0].trials["evaluate"]]
    assert ours == [t.id for t in plan.trials["evaluate"]] != []


def test_settings_within_the_noise_of_two_runs_are_as_good_as_the_best() -> None:
    values = {0: 9.0, 1: 5.3, 2: 5.0, 3: 5.9}
    spread = [4.9, 5.0, 5.1]  # sd 0.1: two runs differ by at most √2 · 4.303 · 0.1 = 0.6085 in 95 % of cases

    def judge(trial: Trial, settings: Mapping[str, Value]) -> float:
        return values[trial.number] if trial.phase == "tune" else spread[trial.number]

    _, (_, plan) = searched(judge)
    assert noise_of(plan, RULE) == pytest.approx(0.6085, abs=1e-4)
    found = flatness(plan, RULE)
    assert found is not None
    assert (found.within, found.of) == (2, 4)
    widths = sorted(plan.suggested[number]["lds.width"] for number in (1, 2))
    assert found.spans["lds.width"] == (widths[0], widths[-1])
    assert set(found.spans["lds.kernel"]) == {plan.suggested[number]["lds.kernel"] for number in (1, 2)}
    _, (_, alone) = searched(judge, seeds=1)
    assert flatness(alone, RULE) is None


def test_importance_is_told_from_thirty_trials_on_and_finds_what_matters() -> None:
    def judge(trial: Trial, settings: Mapping[str, Value]) -> float:
        return abs(float(settings.get("lds.width", 5)) - 9.0)

    _, (_, plan) = searched(judge, trials=ENOUGH)
    found = importance(plan, RULE)
    assert found.shares["all"]["lds.width"] > 0.9
    assert sum(found.shares["few"].values()) == pytest.approx(1.0)
    assert found.conditional == ("lds.sigma",)
    _, (_, few) = searched(judge, trials=5)
    assert importance(few, RULE).unsaid == "5 completed trials: importance is told from 30 on"
    _, (fixed, _) = searched(judge, space={"train.lr": 0.001, "train.weight_decay": 0.0})
    assert importance(fixed, RULE).unsaid == "nothing is searched"


def test_responses_and_heat_maps_are_means_of_what_trials_lie_behind_their_cells_best() -> None:
    def judge(trial: Trial, settings: Mapping[str, Value]) -> float:
        return 10.0 * ("fds" in str(trial.cell.recipe)) + trial.number

    _, plans = searched(judge, trials=12, recipes={"also": ["l1 + lds", "l1 + lds + fds"]})
    (width,) = (one for one in responses(plans, RULE) if one.name == "lds.width")
    points = [(str(p.cell.recipe), s["lds.width"], float(n)) for p in plans for n, s in enumerate(p.suggested)]
    assert list(zip(width.cells, width.values, width.behind, strict=True)) == points
    (map_,) = (one for one in heat_maps(plans, RULE) if one.bandwidth == "lds.sigma")
    assert map_.counts.sum() == sum("lds.sigma" in s for p in plans for s in p.suggested)
    for k, kernel in enumerate(map_.kernels):
        for b in range(len(map_.edges) - 1):
            inside = [
                float(n)
                for p in plans
                for n, s in enumerate(p.suggested)
                if s["lds.kernel"] == kernel
                and "lds.sigma" in s
                and map_.edges[b] <= s["lds.sigma"] < map_.edges[b + 1]
            ]
            assert map_.counts[k, b] == len(inside)
            if inside:
                assert map_.behind[k, b] == pytest.approx(np.mean(inside))
    assert {one.part for one in heat_maps(plans, RULE)} == {"lds", "fds"}


def test_learning_curves_have_a_line_per_seed_and_gaps_where_a_run_has_no_score() -> None:
    _, (plan, _) = searched(by_number)
    first = plan.outcomes["evaluate"][0]
    last = first.curve[-1]
    plan.outcomes["evaluate"][0] = type(first)(**{**vars(first), "curve": (first.curve[0],)})
    plan.outcomes["evaluate"][1] = type(first)(
        **{**vars(first), "curve": (first.curve[0], type(last)(1, 0, 2.0, (score(None),))), "kept_epoch": 0}
    )
    found = learning_curves(plan, RULE)
    assert found is not None
    assert found.score.shape == (3, 2) and np.isnan(found.score[0, 1]) and np.isnan(found.score[1, 1])
    assert found.loss[1, 1] == 2.0 and found.kept == (1, 0, 1)


def test_a_first_weight_decay_of_0_counts_as_the_end_of_its_logarithmic_range() -> None:
    _, plans = searched(by_number, trials=ENOUGH, first={"train.weight_decay": 0.0})
    assert plans[0].suggested[0]["train.weight_decay"] == 0.0
    (decay,) = (one for one in responses(plans, RULE) if one.name == "train.weight_decay")
    (axis,) = (axis for axis in plans[0].cell.axes if axis.name == "train.weight_decay")
    assert isinstance(axis.range, Float) and decay.log and min(decay.values) == axis.range.low > 0
    assert set(importance(plans[0], RULE).shares["all"]) == {"train.lr", "train.weight_decay"}
