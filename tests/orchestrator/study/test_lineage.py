"""A record keeps the suggestion that it was: a plan made from records is the one that the sampler would give."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import record, study
from orchestrator.ledger.index import Index
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Phase, Record
from orchestrator.study import planner as planning
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.cells import Trial, expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study


class Memory(dict[tuple[str, Phase], Record]):
    """A ledger in memory, with the suggestions that its records keep."""

    def find(self, trial_id: str, phase: Phase) -> Record | None:
        return self.get((trial_id, phase))

    def searched(self, key: str) -> Record | None:
        return next((found for found in self.values() if found.search == key), None)

    def without(self) -> "Memory":
        """As an earlier release would have left it."""
        return Memory({trial: replace(found, search=None) for trial, found in self.items()})


def outcome(trial: Trial, fails: int, stops: int) -> Record:
    """A record that depends on the trial alone; some fail, some stop early, which rescoring and evaluation do not."""
    draw = int(trial.id, 16)
    if draw % 100 < fails:
        return record(trial, 1.0, "failed")
    stopped = trial.phase == "tune" and trial.search is not None and draw % 100 < fails + stops
    return record(trial, 1.0 + draw % 1000 / 100, "stopped" if stopped else "completed")


def run(made: Study, memory: Memory, order: random.Random, fails: int, stops: int, limit: int | None = None) -> None:
    """Train until all is done, or so many trials are."""
    planner = Planner(made, expand(made), memory.find, known=memory)
    running: list[Trial] = []
    while not planner.done and (limit is None or len(memory) < limit):
        while len(running) < 3 and (trial := planner.next()) is not None:
            running.append(trial)
        trial = running.pop(order.randrange(len(running)))
        memory[trial.id, trial.phase] = found = outcome(trial, fails, stops)
        planner.finish(trial, found)


def seen(plan: CellPlan) -> Any:
    """All that a plan says, the values with their types."""
    trials = {
        phase: [(t.id, t.number, t.seed, t.search, repr(sorted(t.settings.items()))) for t in trials]
        for phase, trials in plan.trials.items()
    }
    waiting = [(trial.id, trial.search) for trial in plan.waiting]
    return trials, repr(plan.suggested), plan.outcomes, plan.repeats, plan.rescoring, plan.chosen, plan.charged, waiting


def plans(made: Study, memory: Memory, retry: bool) -> list[Any]:
    """What a planner makes of a ledger, with outcomes as they were before records kept suggestions."""
    found = Planner(made, expand(made), memory.find, retry, known=memory).plans
    for plan in found:
        for outcomes in plan.outcomes.values():
            outcomes.update({number: replace(each, search=None) for number, each in outcomes.items()})
        if plan.chosen is not None:
            plan.chosen = replace(plan.chosen, record=replace(plan.chosen.record, search=None), rescored=())
    return [seen(plan) for plan in found]


SPACE = {"train.lr": [0.001, 0.01], "train.weight_decay": 0.0}
"""So few settings that some are drawn twice."""


@settings(max_examples=12, deadline=None)
@given(
    sampler=st.sampled_from(["tpe", "random"]),
    protocol=st.sampled_from([1, 2]),
    parallel=st.integers(1, 5),
    narrow=st.booleans(),
    fails=st.sampled_from([0, 20]),
    stops=st.sampled_from([0, 30]),
    retry=st.booleans(),
    limit=st.none() | st.integers(1, 20),
    seed=st.integers(0, 9),
)
def test_a_plan_from_kept_suggestions_is_the_plan_that_the_sampler_gives(
    sampler: str,
    protocol: int,
    parallel: int,
    narrow: bool,
    fails: int,
    stops: int,
    retry: bool,
    limit: int | None,
    seed: int,
) -> None:
    tree: dict[str, Any] = {"recipes": {"also": ["l1 + lds"]}, "protocol": protocol, "space": SPACE if narrow else {}}
    made = study(**tree, tune={"trials": 9, "parallel": parallel, "sampler": sampler, "scheduler": "asha"})
    memory = Memory()
    run(made, memory, random.Random(seed), fails, stops, limit)
    assert plans(made, memory, retry) == plans(made, memory.without(), retry)
    larger = study(**tree, tune={"trials": 11, "parallel": parallel, "sampler": sampler, "scheduler": "asha"})
    assert plans(larger, memory, retry) == plans(larger, memory.without(), retry)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the trials for which a sampler is asked."""
    numbers: list[int] = []
    suggest = planning.suggest

    def noting(cell: Any, sampler: str, rule: Any, number: int, history: Any) -> Any:
        numbers.append(number)
        return suggest(cell, sampler, rule, number, history)

    monkeypatch.setattr(planning, "suggest", noting)
    return numbers


def filled(folder: Path, made: Study) -> Ledger:
    """A ledger of all trials of a study, half of them compacted."""
    ledger = Ledger(str(folder))
    planner = Planner(made, expand(made), ledger.find, known=Index(ledger))
    while (trial := planner.next()) is not None:
        found = outcome(trial, 0, 20)
        ledger.commit(found, trial.phase)
        planner.finish(trial, found)
        if len(planner.plans[0].outcomes["tune"]) == 6:
            ledger.compact("tune")
    return ledger


def test_a_ledger_that_keeps_suggestions_asks_no_sampler_and_is_read_at_once(tmp_path: Path, asked: list[int]) -> None:
    made = study(tune={"trials": 9, "replicates": 2, "scheduler": "asha"})
    ledger = filled(tmp_path, made)
    asked.clear()
    again = Planner(made, expand(made), ledger.find, known=Index(Ledger(str(tmp_path))))
    assert again.done and asked == []
    plain = Planner(made, expand(made), ledger.find)
    assert len(asked) == 4 * 9
    assert [seen(plan) for plan in again.plans] == [seen(plan) for plan in plain.plans]


def test_another_search_asks_its_own_sampler_where_results_shape_it(tmp_path: Path, asked: list[int]) -> None:
    """With other trials under way at once, later suggestions know other results; those that know none are the same."""
    made = study(recipes={"also": ["l1"]}, tune={"trials": 9, "parallel": 2})
    ledger = filled(tmp_path, made)
    asked.clear()
    other = study(recipes={"also": ["l1"]}, tune={"trials": 9, "parallel": 3})
    Planner(other, expand(other), ledger.find, known=Index(ledger))
    assert asked[0] == 4


def test_a_record_that_other_code_trained_is_not_taken_for_the_suggestion(tmp_path: Path, asked: list[int]) -> None:
    made = study(recipes={"also": ["l1"]}, tune={"trials": 2})
    memory = Memory()
    run(made, memory, random.Random(0), 0, 0)
    for trial, found in memory.items():
        memory[trial] = replace(found, trial_id=f"old {found.trial_id}")
    asked.clear()
    Planner(made, expand(made), lambda trial_id, phase: None, known=memory)
    assert asked == [0, 1]


def test_an_index_that_is_refreshed_reads_only_what_is_new_and_tells_a_changed_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = study(recipes={"also": ["l1"]}, tune={"trials": 4})
    ledger = Ledger(str(tmp_path))
    trials = Planner(made, expand(made), ledger.find).plans[0].waiting
    ledger.commit(record(trials[0], 1.0), "tune")
    ledger.commit(record(trials[1], 1.0, "failed"), "tune")
    index = Index(Ledger(str(tmp_path)))
    read: list[str] = []
    get = type(ledger.store).get
    monkeypatch.setattr(type(ledger.store), "get", lambda self, key: (read.append(key), get(self, key))[1])
    ledger.commit(record(trials[2], 1.0), "tune")
    read.clear()
    assert not index.refresh()
    assert read == [f"ledger/tune/{trials[2].id}.0.parquet"]
    assert index.find(trials[2].id, "tune") == record(trials[2], 1.0)
    ledger.compact("tune")
    assert not index.refresh()
    ledger.commit(record(trials[1], 2.0, attempt=1), "tune")
    assert index.refresh()
    found = index.find(trials[1].id, "tune")
    assert found is not None and (found.status, found.attempt) == ("completed", 1)
    assert found == Ledger(str(tmp_path)).find(trials[1].id, "tune")


def test_a_planner_that_catches_up_knows_what_a_new_one_would(tmp_path: Path) -> None:
    made = study(tune={"trials": 6})
    ledger = Ledger(str(tmp_path))
    index = Index(ledger)
    watching = Planner(made, expand(made), ledger.find, known=index)
    planner = Planner(made, expand(made), ledger.find)
    for step in range(1000):
        if (trial := planner.next()) is None:
            break
        found = outcome(trial, 0, 0)
        ledger.commit(found, trial.phase)
        planner.finish(trial, found)
        if step % 7 == 0:
            index.refresh()
            watching.catch_up()
            fresh = Planner(made, expand(made), ledger.find, known=index)
            assert [seen(plan) for plan in watching.plans] == [seen(plan) for plan in fresh.plans]
    index.refresh()
    watching.catch_up()
    assert planner.done and watching.done
