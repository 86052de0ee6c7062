import random
from collections.abc import Callable
from dataclasses import replace
from math import ceil, inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import record, study
from orchestrator.errors import BadInput
from orchestrator.ledger.records import Phase, Record
from orchestrator.study.allowance import check_reach, need, needed, told, trained, tries
from orchestrator.study.cells import Trial, expand
from orchestrator.study.planner import Planner
from orchestrator.study.sharding import Shard
from orchestrator.study.spec import Study
from orchestrator.study.spending import Cost

RANDOM = {"trials": 3, "parallel": 2, "sampler": "random"}
THREE = {"recipes": {"also": ["l1", "l1 + lds", "l1 + fds"]}, "tune": RANDOM}
"""Cells that search 2, 6 and 8 hyperparameters, of 3 + 3 · 2 + 2 trials of 2 epochs each."""
Memory = dict[tuple[str, Phase], Record]


def outcome(trial: Trial, **changes: Any) -> Record:
    """A record that depends on the trial alone, after two seconds of an epoch."""
    value = 1.0 + int(trial.id, 16) % 1000 / 100
    return replace(record(trial, value), wall_s=2.0 * trial.epochs, **changes)


def run(
    made: Study, memory: Memory, workers: int = 1, dice: random.Random | None = None, **of: Any
) -> tuple[Planner, list[Trial]]:
    """Train until nothing is given out; returns what was, in its order."""
    planner = Planner(made, expand(made), lambda trial_id, phase: memory.get((trial_id, phase)), **of)
    running: list[Trial] = []
    issued: list[Trial] = []
    while not planner.done:
        while len(running) < workers and (trial := planner.next()) is not None:
            running.append(trial)
            issued.append(trial)
        if running:
            trial = running.pop(0 if dice is None else dice.randrange(len(running)))
            memory[trial.id, trial.phase] = outcome(trial)
            planner.finish(trial, memory[trial.id, trial.phase])
    assert not running and planner.next() is None
    return planner, issued


def test_under_per_axis_trials_are_in_proportion_to_what_a_cell_searches() -> None:
    made = study(**THREE | {"tune": {"trials": 5, "budget": "per_axis"}})
    cells = expand(made)
    axes = [len(cell.axes) for cell in cells]
    assert list(tries(made, cells).values()) == [ceil(5 * n / min(axes)) for n in axes]
    assert tries(made, cells)["nhanes-sbp/l1"] == 5 and len(set(axes)) > 1
    assert set(tries(study(**THREE | {"tune": {"trials": 5}}), cells).values()) == {5}
    planner, issued = run(made, {})
    needs = [need(made, cell, tries(made, cells)[cell.name]).trials for cell in cells]
    assert planner.total == len(issued) == sum(needs)
    with pytest.raises(BadInput, match=r"tune\.trials under per_axis must give every cell at most 10,000: got 9,000"):
        tries(study(**THREE | {"tune": {"trials": 9000, "budget": "per_axis"}}), cells)


def test_a_cell_with_nothing_to_search_has_one_setting_under_per_axis_too() -> None:
    fixed = {"train.lr": 0.001, "train.weight_decay": 0.0}
    made = study(**THREE | {"space": fixed, "tune": {"trials": 5, "budget": "per_axis"}})
    assert min(tries(made, expand(made)).values()) == tries(made, expand(made))["nhanes-sbp/l1"] == 1
    assert sorted(tries(made, expand(made)).values())[1] == 5


@settings(max_examples=25)
@given(
    trials=st.one_of(st.none(), st.integers(11, 40)),
    epochs=st.one_of(st.none(), st.integers(22, 80)),
    workers=st.integers(1, 6),
    seed=st.integers(0, 5),
)
def test_no_more_trials_and_epochs_are_trained_than_the_budget_has_and_none_is_lost(
    trials: int | None, epochs: int | None, workers: int, seed: int
) -> None:
    made = study(**THREE, budget={"trials": trials, "epochs": epochs})
    memory: Memory = {}
    planner, issued = run(made, memory, workers, random.Random(seed))
    assert len(issued) <= (trials or inf) and 2 * len(issued) <= (epochs or inf)
    enough = (trials or inf) >= 33 and (epochs or inf) >= 66
    assert planner.spent != enough and planner.left == 33 - len(issued)
    assert len(issued) == min(trials or 33, (epochs or 66) // 2, 33), "nothing is left unspent"
    again, more = run(study(**THREE), memory, workers)
    assert len(more) == planner.left and not {t.id for t in more} & {t.id for t in issued}
    assert not again.spent and len(memory) == 33


def test_with_a_budget_cells_are_completed_one_after_another() -> None:
    planner, issued = run(study(**THREE, budget={"trials": 22}), {}, 2)
    assert [len(plan.records("evaluate")) for plan in planner.plans] == [2, 2, 0]
    assert len(issued) == 22
    everything, _ = run(study(**THREE, budget={"trials": 33}), {}, 2)
    assert not everything.spent and everything.left == 0


def test_device_hours_and_money_are_foreseen_from_the_epochs_so_far() -> None:
    hours = 10 * 4.0 / 3600  # ten trials of two epochs of two seconds
    for budget in ({"device_hours": hours}, {"money": hours * 3, "price_per_hour": 3}):
        _, issued = run(study(**THREE, budget=budget), {})
        assert len(issued) == 10
    _, issued = run(study(**THREE, budget={"device_hours": hours}), {}, 4)
    assert 10 <= len(issued) <= 10, "what is under way counts with what it will take"
    _, issued = run(study(**THREE, budget={"device_hours": hours}, resources={"of": {"nhanes-sbp": {"gpus": 0.5}}}), {})
    assert len(issued) == 20


def test_seconds_are_those_of_an_epoch_of_each_of_the_models_that_a_trial_trains() -> None:
    made = study(recipes={"also": ["l1", "l1 + affine_oof"]}, tune=RANDOM, budget={"device_hours": 1})
    plain, folds = cells = expand(made)
    times = folds.recipe.trainings
    planner = Planner(made, cells, lambda trial_id, phase: None)
    trial = folds.trial("tune", 0, {})
    assert times > 1 and trial.epochs == 2
    planner.spending.take(trial, replace(record(trial, 1.0), wall_s=4.0 * times))
    assert planner.spending.cost(trial, 2) == Cost(1, 2 * times, 4.0 * times)
    assert planner.spending.cost(plain.trial("tune", 0, {}), 2) == Cost(1, 2, 4.0)


def test_populations_are_those_of_numbers_where_trials_repeat_others() -> None:
    made = study(
        recipes={"also": ["l1"]}, tune={"trials": 17, "scheduler": "halving", "rescore": 1}, train={"epochs": 8}
    )
    [cell] = expand(made)
    whole = 8 * 2 + 4 * 2 + 2 * 4
    assert trained(made, cell, {"tune": 17, "rescore": 0, "evaluate": 2}) == 2 * whole + 8 + 2 * 8
    seven = 7 * 2 + 4 * 2 + 2 * 4
    assert trained(made, cell, {"tune": 16, "rescore": 0, "evaluate": 2}, {9: 1}) == whole + seven + 8 + 2 * 8
    assert trained(made, cell, {"tune": 16, "rescore": 0, "evaluate": 2}, {16: 1}) == 2 * whole + 2 * 8


def test_what_another_study_trained_costs_nothing() -> None:
    memory: Memory = {}
    run(study(**THREE), memory)
    theirs = {key: replace(found, study="other") for key, found in memory.items()}
    planner, issued = run(study(**THREE, budget={"trials": 11}), theirs)
    assert issued == [] and planner.spending.spent == Cost() and not planner.spent
    mine, _ = run(study(**THREE, budget={"trials": 33}), memory)
    assert mine.spending.spent == Cost(33, 66, 132.0)


def test_shards_have_the_share_of_a_budget_that_they_have_of_the_cells() -> None:
    made = study(**THREE, budget={"trials": 24})
    names = [cell.name for cell in expand(made)]
    counts = [len(run(made, {}, 2, share=Shard(number, 2, names))[1]) for number in range(2)]
    assert counts == [16, 8]
    memory: Memory = {}
    after = [run(made, memory, 2, share=Shard(number, 2, names)) for number in range(2)]
    assert [len(issued) for _, issued in after] == counts, "what another driver trained before is of its share"
    again, issued = run(made, memory, 2, share=Shard(0, 2, names))
    assert not issued and again.spent and again.spending.spent == Cost(16, 32, 64.0)


def test_a_budget_that_reaches_for_no_cell_is_refused() -> None:
    made = study(**THREE, budget={"trials": 10})
    with pytest.raises(BadInput, match=r"budget\.trials must reach for one cell: got 10, .*nhanes-sbp/l1, needs 11;"):
        check_reach(made, expand(made))
    made = study(**THREE, budget={"epochs": 21})
    with pytest.raises(BadInput, match=r"budget\.epochs must reach for one cell: got 21, .*needs 22;"):
        check_reach(made, expand(made))
    check_reach(study(**THREE, budget={"trials": 11, "epochs": 22}), expand(made))
    with pytest.raises(BadInput, match=r"budget\.money needs a price: got 5 and no budget\.price_per_hour"):
        study(budget={"money": 5})


def test_what_a_cell_needs_counts_stopped_epochs_and_models_of_folds() -> None:
    halved = study(
        recipes={"also": ["l1", "l1 + affine_oof"]}, train={"epochs": 8}, tune={"trials": 20, "scheduler": "halving"}
    )
    plain, folds = needed(halved, expand(halved))
    assert plain.epochs == 2 * 32 + 4 * 8 + (3 * 2 + 2) * 8
    assert (plain.trials == folds.trials == 28 and folds.epochs == 5 * plain.epochs) or folds.epochs % plain.epochs == 0


def test_what_a_budget_reaches_for_is_told() -> None:
    made = study(**THREE, budget={"trials": 20, "money": 3, "price_per_hour": 1.5})
    (line,) = told(made, expand(made), 1.83)
    assert line.startswith("budget: 20 of at most 33 trials; 3 in money, 2 device hours, of about 1.83 for all; cells")
    assert told(study(), expand(study()), 1.0) == []


PICKS: list[tuple[Any, list[str]]] = [
    ({"l1 + fds": 2, "l1 + lds": 1}, ["l1 + fds", "l1 + lds", "l1"]),
    ({"nhanes-sbp/l1": -1}, ["l1 + lds", "l1 + fds", "l1"]),
    ({"l1 + l*": 1, "*": 2}, ["l1", "l1 + fds", "l1 + lds"]),
    (["l1 + fds"], ["l1 + fds", "l1", "l1 + lds"]),
    (["*lds", "*fds"], ["l1 + lds", "l1 + fds", "l1"]),
]


@pytest.mark.parametrize(("priority", "order"), PICKS)
def test_cells_of_a_higher_priority_come_first_and_equals_share(priority: Any, order: list[str]) -> None:
    made = study(**THREE, priority=priority)
    planner, issued = run(made, {})
    ranks = [planner.priorities[trial.cell.name] for trial in issued]
    assert ranks == sorted(ranks, reverse=True)
    of_budget, _ = run(study(**THREE, priority=priority, budget={"trials": 22}), {})
    done = {str(plan.cell.recipe) for plan in of_budget.plans if plan.records("evaluate")}
    assert done == set(order[:2]) if len(set(ranks)) == 3 else set(order[:1]) <= done
    assert sorted(trial.id for trial in issued) == sorted(trial.id for trial in run(study(**THREE), {})[1])


def test_a_priority_of_nothing_is_refused() -> None:
    made = study(priority={"l2*": 1})
    with pytest.raises(BadInput, match=r"priority names workloads, recipes or cells .*got 'l2\*', which is of none"):
        expand(made)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_cell_is_evaluated_as_soon_as_it_is_tuned(workers: int) -> None:
    planned: Callable[[Planner], list[int]] = lambda p: [len(plan.trials["evaluate"]) for plan in p.plans]  # noqa: E731
    made, memory = study(**THREE), Memory()
    planner = Planner(made, expand(made), lambda trial_id, phase: memory.get((trial_id, phase)))
    running: list[Trial] = []
    begun: set[str] = set()
    while not planner.done:
        while len(running) < workers:
            tuned = {plan.cell.name for plan in planner.plans if plan.trials["evaluate"]}
            open_ = {t.cell.name for plan in planner.plans for t in plan.waiting if t.phase == "evaluate"}
            trial = planner.next()
            if trial is None:
                break
            assert trial.phase == "evaluate" or not open_, "no cell goes on tuning while another waits to be evaluated"
            begun |= tuned
            running.append(trial)
        trial = running.pop(0)
        memory[trial.id, trial.phase] = outcome(trial)
        planner.finish(trial, memory[trial.id, trial.phase])
    assert planned(planner) == [2, 2, 2] and len(begun) == 3


def test_budgets_and_priorities_are_no_part_of_a_study_and_are_not_written_where_there_are_none() -> None:
    changed = study(budget={"trials": 90}, priority=["l1"], tune={"trials": 3, "parallel": 2, "budget": "per_axis"})
    assert changed.definition() == study().definition()
    assert {"budget", "priority"} & study().model_dump().keys() == set()
    assert Study.of(changed.model_dump(mode="json")) == changed
