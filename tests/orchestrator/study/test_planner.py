import random
from collections.abc import Callable
from statistics import mean

import pytest

from builders import record, study
from orchestrator.ledger.records import Phase, Record
from orchestrator.study.cells import Trial, expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study


class Memory(dict[tuple[str, Phase], Record]):
    """A ledger in memory."""

    def find(self, trial_id: str, phase: Phase) -> Record | None:
        return self.get((trial_id, phase))


def value_of(trial: Trial) -> float:
    """A score that depends on the trial alone, as training does."""
    return 1.0 + int(trial.id, 16) % 1000 / 100


def run(
    made: Study,
    memory: Memory,
    at_once: int,
    pick: Callable[[list[Trial]], Trial],
    stop_after: int | None = None,
    fails: Callable[[Trial], bool] = lambda trial: False,
) -> list[str]:
    """Drive a planner as a scheduler would; returns the ids in the order in which they were given out."""
    planner = Planner(made, expand(made), memory.find)
    running: list[Trial] = []
    issued: list[str] = []
    while not planner.done:
        while len(running) < at_once and (trial := planner.next()) is not None:
            running.append(trial)
            issued.append(trial.id)
        if stop_after is not None and len(memory) >= stop_after:
            return issued
        trial = pick(running)
        running.remove(trial)
        outcome = record(trial, value_of(trial), "failed" if fails(trial) else "completed")
        memory[trial.id, trial.phase] = outcome
        planner.finish(trial, outcome)
    return issued


BIG = {
    "recipes": {"objectives": ["l1"], "combine": ["lds", "fds"]},
    "tune": {"trials": 13, "parallel": 3},
}


def test_every_cell_gets_its_budget_and_no_trial_is_given_out_twice() -> None:
    made = study(**BIG)
    memory = Memory()
    issued = run(made, memory, 4, lambda running: running[0])
    assert len(issued) == len(set(issued)) == 4 * (13 + 3 * 2 + 2)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_trained_does_not_depend_on_who_finishes_first(seed: int) -> None:
    made = study(**BIG)
    one_by_one, shuffled = Memory(), Memory()
    run(made, one_by_one, 1, lambda running: running[0])
    run(made, shuffled, 7, random.Random(seed).choice)
    assert one_by_one == shuffled


@pytest.mark.parametrize("stop_after", [1, 7, 20, 41, 53])
def test_an_interrupted_study_trains_only_what_is_missing_and_ends_the_same(stop_after: int) -> None:
    made = study(**BIG)
    whole, cut = Memory(), Memory()
    run(made, whole, 3, lambda running: running[0])
    run(made, cut, 3, lambda running: running[-1], stop_after)
    before = set(cut)
    again = run(made, cut, 2, lambda running: running[0])
    assert cut == whole
    assert len(again) == len(whole) - len(before)
    assert not {trial_id for trial_id, _ in before} & set(again)


def test_a_larger_budget_keeps_the_trials_that_are_there() -> None:
    memory = Memory()
    run(study(tune={"trials": 3, "parallel": 2}), memory, 2, lambda running: running[0])
    tuned = {trial_id for trial_id, phase in memory if phase == "tune"}
    assert len(tuned) == 2 * (3 + 3 * 2)
    larger = study(tune={"trials": 6, "parallel": 2})
    issued = run(larger, memory, 2, lambda running: running[0])
    assert not tuned & set(issued)
    plans = Planner(larger, expand(larger), memory.find).plans
    first = [trial.id for plan in plans for trial in plan.trials["tune"][:3]]
    assert set(first) <= tuned


def test_a_trial_of_another_study_in_the_same_storage_is_used() -> None:
    memory = Memory()
    run(study(study="first"), memory, 1, lambda running: running[0])
    assert run(study(study="second"), memory, 1, lambda running: running[0]) == []


def test_evaluate_trials_repeat_the_setting_with_the_best_validation_score() -> None:
    made = study()
    memory = Memory()
    run(made, memory, 1, lambda running: running[0])
    planner = Planner(made, expand(made), memory.find)
    for plan in planner.plans:
        scores = {}
        for first in range(3):
            numbers = [first, *(n for n, of in (plan.rescoring or {}).items() if of == first)]
            assert len({plan.trials["tune"][n].seed for n in numbers}) == 3
            assert len({str(plan.trials["tune"][n].settings) for n in numbers}) == 1
            scores[first] = mean(plan.outcomes["tune"][n].score("val/mae/all") or 0 for n in numbers)
        best = min(scores, key=scores.__getitem__)
        assert plan.selected == plan.outcomes["tune"][best]
        assert plan.chosen is not None and plan.chosen.score == pytest.approx(scores[best])
        assert {str(t.settings) for t in plan.trials["evaluate"]} == {str(plan.selected.settings)}
        assert len({t.seed for t in plan.trials["evaluate"]}) == 2


def test_all_trials_of_a_search_have_one_seed_in_every_recipe() -> None:
    made = study(**BIG)
    memory = Memory()
    run(made, memory, 3, lambda running: running[0])
    plans = Planner(made, expand(made), memory.find).plans
    seeds = {trial.seed for plan in plans for trial in plan.trials["tune"][:13]}
    again = {trial.seed for plan in plans for trial in plan.trials["tune"][13:]}
    test = {trial.seed for plan in plans for trial in plan.trials["evaluate"]}
    assert (len(seeds), len(again), len(test)) == (1, 2, 2)
    assert len(seeds | again | test) == 5


FIXED = {"train.lr": 0.001, "train.weight_decay": 0.0}


def test_a_cell_with_nothing_to_search_tries_its_setting_once_and_rescores_nothing() -> None:
    made = study(recipes={"also": ["l1"]}, space=FIXED, tune={"trials": 30})
    memory = Memory()
    assert Planner(made, expand(made), memory.find).total == 3
    assert len(run(made, memory, 3, lambda running: running[0])) == 1 + 2
    planner = Planner(made, expand(made), memory.find)
    assert planner.done and planner.total == 3 and planner.plans[0].selected is not None


def test_a_setting_that_is_drawn_twice_is_trained_once_and_rescored_once() -> None:
    made = study(
        recipes={"also": ["l1"]},
        space={**FIXED, "train.batch_size": [128, 256]},
        tune={"trials": 9, "sampler": "random", "parallel": 9},
    )
    memory = Memory()
    issued = run(made, memory, 9, lambda running: running[-1])
    assert len(issued) == len(set(issued)) == 2 + 2 * 2 + 2
    planner = Planner(made, expand(made), memory.find)
    assert (planner.total, planner.planned(planner.plans[0])) == (8, 8)
    assert len(planner.plans[0].records("tune")) == 6


def test_a_single_setting_that_trains_needs_no_rescoring() -> None:
    made = study(recipes={"also": ["l1"]})
    memory = Memory()
    issued = run(made, memory, 1, lambda r: r[0], fails=lambda t: t.phase == "tune" and t.number > 0)
    assert len(issued) == 3 + 2
    assert run(study(recipes={"also": ["l1"]}, tune={"trials": 1}), Memory(), 1, lambda r: r[0]) != []
    assert Planner(made, expand(made), memory.find).total == 5


def test_rescoring_one_setting_is_no_rescoring() -> None:
    made = study(tune={"trials": 3, "rescore": 1})
    assert len(run(made, Memory(), 1, lambda running: running[0])) == 2 * (3 + 2)


def test_replicates_repeat_tuning_and_evaluation_with_other_seeds_and_settings() -> None:
    made = study(recipes={"also": ["l1 + lds"]}, tune={"trials": 3, "replicates": 3})
    memory = Memory()
    issued = run(made, memory, 3, lambda running: running[0])
    assert len(set(issued)) == 3 * (3 + 3 * 2 + 2)
    plans = Planner(made, expand(made), memory.find).plans
    assert [plan.cell.name for plan in plans][1:] == [f"nhanes-sbp/l1 + lds (replicate {n})" for n in (1, 2)]
    assert [[r.number for r in plan.records("evaluate")] for plan in plans] == [[0, 1], [2, 3], [4, 5]]
    assert [plan.unit(r.number) for plan in plans for r in plan.records("evaluate")] == [0, 0, 1, 1, 2, 2]
    assert len({str(plan.suggested[1]) for plan in plans}) == 3
    first = [plan.trials["tune"][0] for plan in plans]
    assert len({t.seed for t in first}) == 3 and len({str(t.settings) for t in first}) == 1


def test_one_replicate_is_the_first_of_several() -> None:
    memory = Memory()
    issued = run(study(), memory, 2, lambda running: running[0])
    more = run(study(tune={"trials": 3, "parallel": 2, "replicates": 2}), memory, 2, lambda running: running[0])
    assert len(more) == len(issued) and not set(issued) & set(more)


def test_another_copy_of_a_study_shares_no_seed_and_no_drawn_setting_with_it() -> None:
    seeds, drawn = [], []
    for copy in range(3):
        made = study(replicate=copy, tune={"trials": 3, "replicates": 2})
        plans = Planner(made, expand(made), Memory().find).plans
        seeds += [trial.seed for plan in plans[:2] for trial in plan.trials["tune"][:1]]
        drawn += [str(plan.suggested[1]) for plan in plans[:2]]
    assert len(set(seeds)) == len(set(drawn)) == 6


def test_the_first_protocol_gives_every_trial_a_seed_of_its_own() -> None:
    made = study(protocol=1, recipes={"also": ["l1"]})
    memory = Memory()
    assert len(run(made, memory, 1, lambda running: running[0])) == 3 + 2
    assert [axis.name for axis in expand(made)[0].axes] == []
    assert len({trial.seed for trial in Planner(made, expand(made), memory.find).plans[0].trials["tune"]}) == 3


def test_a_failed_trial_is_not_trained_again_unless_asked_and_says_why_it_is_missing() -> None:
    made = study()
    memory = Memory()
    run(made, memory, 2, lambda running: running[0], fails=lambda t: t.phase == "evaluate" and t.number == 1)
    planner = Planner(made, expand(made), memory.find)
    assert planner.done
    assert {plan.missing() for plan in planner.plans} == {"1 failed: Diverged: the training loss became nan"}
    again = Planner(made, expand(made), memory.find, retry_failed=True)
    assert not again.done
    assert again.next() is not None


def test_a_cell_whose_tuning_failed_altogether_ends_without_evaluation() -> None:
    made = study()
    memory = Memory()
    issued = run(made, memory, 2, lambda running: running[0], fails=lambda t: "lds" in str(t.cell.recipe))
    assert len(issued) == 3 + (3 + 3 * 2 + 2)
    lost = Planner(made, expand(made), memory.find).plans[1]
    assert lost.selected is None
    assert lost.missing().startswith("3 failed: Diverged")


def test_the_cell_that_was_given_least_is_next() -> None:
    planner = Planner(study(), expand(study()), Memory().find)
    first, second = planner.next(), planner.next()
    assert first is not None
    assert second is not None
    assert first.cell != second.cell


def test_epochs_that_a_stopped_trial_did_not_use_go_back_to_its_cell() -> None:
    made = study()
    planner = Planner(made, expand(made), Memory().find)
    trial = planner.next()
    assert trial is not None
    planner.finish(trial, record(trial, 1.0, "stopped", epochs_run=1))
    assert planner.plans[0].charged == 1


def test_no_more_trials_of_a_cell_run_at_once_than_the_study_says() -> None:
    made = study(recipes={"also": ["l1 + lds"]}, tune={"trials": 9, "parallel": 3})
    planner = Planner(made, expand(made), Memory().find)
    given = []
    while (trial := planner.next()) is not None:
        given.append(trial)
    assert len(given) == 3
    assert not planner.done


def test_trials_under_way_tell_their_epochs_until_they_end_or_are_lost() -> None:
    made = study(tune={"trials": 2, "parallel": 2})
    planner = Planner(made, expand(made), Memory().find)
    first, second = planner.next(), planner.next()
    assert first is not None
    assert second is not None
    assert str(planner.under_way) == f"2 running (0/{2 * first.epochs} epochs)"
    planner.reached(first, 3)
    planner.reached(second, 1)
    assert (planner.under_way.epochs, planner.under_way.of) == (4, 2 * first.epochs)
    planner.finish(first, record(first, 1.0))
    assert str(planner.under_way) == f"1 running (1/{first.epochs} epochs)"
    planner.give_back(second)
    assert str(planner.under_way) == "0 running"
