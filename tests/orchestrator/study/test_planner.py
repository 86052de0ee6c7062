import random
from collections.abc import Callable

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
    assert len(issued) == len(set(issued)) == 4 * (13 + 2)


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
    tuned = {key for key in memory if key[1] == "tune"}
    issued = run(study(tune={"trials": 6, "parallel": 2}), memory, 2, lambda running: running[0])
    assert not {trial_id for trial_id, _ in tuned} & set(issued)
    assert sum(phase == "tune" for _, phase in memory) == 2 * 6


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
        best = min(plan.records("tune"), key=lambda r: r.score("val/mae/all") or 0)
        assert plan.selected == best
        assert {str(t.settings) for t in plan.trials["evaluate"]} == {str(best.settings)}
        assert len({t.seed for t in plan.trials["evaluate"]}) == 2


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
    assert len(issued) == 3 + 3 + 2
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
