"""Several objectives: the set that nothing beats is Optuna's, and a named rule picks one of it."""

from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import record, score, study
from orchestrator.study.cells import Trial, expand
from orchestrator.study.objectives import PICKS, Point, beats, fronts, order
from orchestrator.study.planner import Planner
from orchestrator.study.selection import ranked, select

POINTS = st.lists(st.tuples(st.integers(0, 6).map(float), st.integers(0, 6).map(float)), min_size=1, max_size=12)
BOTH = ("val/mae/many", "val/mae/few")


@given(POINTS)
def test_the_first_front_is_the_pareto_set_that_optuna_finds(points: list[Point]) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(directions=["minimize", "minimize"])
    made.add_trials([optuna.trial.create_trial(values=list(point)) for point in points])
    assert sorted(fronts(points)[0]) == sorted(trial.number for trial in made.best_trials)


@pytest.mark.parametrize("pick", PICKS)
@given(points=POINTS)
def test_an_order_has_every_point_once_and_none_before_one_that_beats_it(pick: str, points: list[Point]) -> None:
    found = order(points, pick)
    assert sorted(found) == list(range(len(points)))
    for place, i in enumerate(found):
        assert not any(beats(points[j], points[i]) for j in found[place + 1 :])


@pytest.mark.parametrize("pick", PICKS)
@given(points=POINTS)
def test_what_is_picked_does_not_depend_on_the_units_of_an_objective(pick: str, points: list[Point]) -> None:
    assert order(points, pick)[0] == order([(64.0 * a, b) for a, b in points], pick)[0]


def test_each_rule_picks_what_it_says() -> None:
    points = [(0.0, 10.0), (1.0, 5.0), (4.0, 3.0), (6.0, 1.0), (10.0, 0.0), (9.0, 9.0)]
    assert fronts(points) == [[0, 1, 2, 3, 4], [5]]
    assert order(points, "first")[0] == 0
    assert order(points, "knee")[0] == 1  # 0.1 + 0.5, before 0.4 + 0.3 only if that were more
    assert {pick: order(points, pick)[-1] for pick in PICKS} == dict.fromkeys(PICKS, 5)


def test_one_objective_is_ordered_by_its_value_whatever_the_rule() -> None:
    assert {tuple(order([(3.0,), (1.0,), (1.0,)], pick)) for pick in PICKS} == {(1, 2, 0)}


def scored(trial: Trial, many: float, few: float) -> Any:
    return record(trial, 1.0, val=(score(many, "many"), score(few, "few"), score(many + few)))


def test_a_study_of_two_objectives_rescores_and_evaluates_one_of_its_pareto_set() -> None:
    made = study(
        recipes={"also": ["l1"]}, tune={"trials": 9, "select_by": list(BOTH), "pick": "ideal", "sampler": "random"}
    )
    planner = Planner(made, expand(made), lambda trial_id, phase: None)
    points = [(9, 1), (5, 5), (1, 9), (4, 4), (8, 8), (2, 7), (7, 2), (6, 6), (9, 9)]
    while (trial := planner.next()) is not None:
        number = trial.number if planner.searches(trial) else planner.plans[0].rescoring.get(trial.number, 3)  # type: ignore[union-attr]
        planner.finish(trial, scored(trial, *map(float, points[number])))
    (plan,) = planner.plans
    assert planner.done and plan.selected is not None and plan.selected.number == 3
    assert set(plan.rescoring.values()) <= {0, 2, 3, 5, 6}  # type: ignore[union-attr]
    assert plan.chosen is not None and plan.chosen.scores == (4.0, 4.0) and plan.chosen.score == 4.0
    assert plan.cell.fixed["train.monitor"] == BOTH[0]


def test_a_trial_without_one_of_the_scores_is_not_selected() -> None:
    made = study(recipes={"also": ["l1"]}, tune={"trials": 2})
    trials = Planner(made, expand(made), lambda trial_id, phase: None).plans[0].trials["tune"]
    whole, half = scored(trials[0], 2.0, 2.0), record(trials[1], 1.0, val=(score(1.0, "many"),))
    assert ranked([half, whole], BOTH) == [whole]
    found = select([(whole, ())], BOTH)
    assert found is not None and found.record == whole and select([], BOTH) is None
