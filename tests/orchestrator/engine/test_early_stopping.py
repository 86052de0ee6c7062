from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from builders import record, study
from orchestrator.engine.early_stopping import MAKERS, PerCellScheduler, maker
from orchestrator.errors import BadInput
from orchestrator.ledger.records import CurveRow, ScoreRow
from orchestrator.study import rules
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study

A, B = "nhanes-sbp/l1", "nhanes-sbp/l1 + lds"
NAMES = [name for name, make in MAKERS.items() if make is not None]


def result(epoch: int, value: float, done: bool = False) -> dict[str, Any]:
    row = {"epoch": epoch, "stage": 0, "loss": 1.0}
    return {"done": done, "rows": [{**row, "val": [{"metric": "mae", "region": "all", "value": value, "count": 1}]}]}


def trial(number: int, cell: str, searches: bool = True) -> Any:
    job = {"epochs": 27, "number": number, "trial_id": f"{cell} {number}"}
    return SimpleNamespace(trial_id=f"of Tune {number}", config={"cell": cell, "searches": searches, "jobs": [job]})


def made(scheduler: str = "asha", **changes: Any) -> Study:
    tune = {"trials": 30, "parallel": 30, "scheduler": scheduler, **changes.pop("tune", {})}
    return study(**{"train": {"epochs": 27}, "tune": tune, **changes})


def scheduler(of: Study, find: Any = lambda trial_id, phase: None) -> PerCellScheduler:
    make = maker(of.tune)
    assert make is not None
    return PerCellScheduler(Planner(of, expand(of), find), make)


def decide(found: PerCellScheduler, number: int, cell: str, value: float, searches: bool = True) -> int | None:
    """The epoch after which a trial with this score in every epoch is stopped, or None."""
    t = trial(number, cell, searches)
    found.on_trial_add(None, t)
    for epoch in range(26):
        if found.on_trial_result(None, t, result(epoch, value)) == "STOP":
            return epoch
    return None


@pytest.mark.parametrize("name", NAMES)
def test_bad_trials_of_a_cell_are_stopped_once_there_are_enough_of_them(name: str) -> None:
    found = scheduler(made(name))
    stopped = [decide(found, n, A, float(n)) for n in range(30)]
    assert stopped[:8] == [None] * 8, "no trial is stopped before the population is there"
    assert sum(epoch is not None for epoch in stopped[9:]) >= 9
    assert min(epoch for epoch in stopped if epoch is not None) == 2  # the first rung is at epochs // 9 = 3 epochs


def test_the_population_and_the_first_rung_are_keys_of_the_study() -> None:
    found = scheduler(made(tune={"population": 3, "grace": 5, "reduction": 2}))
    stopped = [decide(found, n, A, float(n)) for n in range(6)]
    assert stopped == [None, None, 4, 4, 4, 4]


@pytest.mark.parametrize("name", NAMES)
def test_cells_do_not_stop_each_others_trials(name: str) -> None:
    found = scheduler(made(name))
    for n in range(12):
        decide(found, n, A, 1.0 + n / 100)
    assert decide(found, 0, B, 1000.0) is None


def test_trials_that_rescore_or_evaluate_are_never_stopped() -> None:
    found = scheduler(made())
    for n in range(12):
        decide(found, n, A, 1.0)
    assert decide(found, 12, A, 1000.0, searches=False) is None


def test_brackets_of_hyperband_begin_to_stop_later_and_later() -> None:
    found = scheduler(made("hyperband", tune={"population": 2}))
    stopped = {n: decide(found, n, A, float(n)) for n in range(8)}
    assert {stopped[n] for n in (2, 4, 6)} == {2} and {stopped[n] for n in (3, 5, 7)} == {8}


@pytest.mark.parametrize("name", NAMES)
def test_no_score_of_a_later_stage_is_compared(name: str) -> None:
    of = made(name, recipes={"also": ["l1 + rrt"]}, tune={"population": 2, "grace": 10})
    found, cell = scheduler(of), "nhanes-sbp/l1 + rrt"
    for n in range(4):
        t = trial(n, cell)
        decisions = [found.on_trial_result(None, t, result(e, 1.0 if e < 14 else 1000.0 * n)) for e in range(26)]
        assert decisions == ["CONTINUE"] * 26


def test_a_trial_that_begins_again_is_counted_once() -> None:
    found = scheduler(made(tune={"population": 9}))
    for _ in range(20):
        decide(found, 0, A, 1.0)
    assert decide(found, 1, A, 1000.0) is None


def test_where_no_rung_lies_within_a_trial_nothing_is_stopped() -> None:
    found = scheduler(made(tune={"population": 2, "grace": 27}))
    assert [decide(found, n, A, float(n)) for n in range(6)] == [None] * 6


def test_rungs_are_rebuilt_from_the_ledger() -> None:
    of = made(recipes={"also": ["l1 + lds"]})
    (cell,) = expand(of)
    empty = Planner(of, [cell], lambda trial_id, phase: None)
    done = {}
    for n, t in enumerate(empty.plans[0].trials["tune"][:12]):
        scores = (ScoreRow("mae", "all", 1.0 + n / 100, 1),)
        curve = tuple(CurveRow(e, 0, 1.0, scores) for e in range(27))
        done[t.id] = record(t, 1.0, curve=curve, val=scores)
    fresh = scheduler(of, lambda trial_id, phase: done.get(trial_id))
    assert decide(fresh, 12, B, 1000.0) == 2


def test_a_rule_that_is_installed_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", "orchestrator.engine.early_stopping:_asha", rules.GROUP)
    gone = EntryPoint("gone", "no.such.module:make", rules.GROUP)
    monkeypatch.setattr(rules, "entry_points", lambda group: [point, gone] if group == rules.GROUP else [])
    found = scheduler(made("mine"))
    assert decide(found, 0, A, 1.0) is None
    with pytest.raises(BadInput, match=r"the scheduler 'gone' cannot be loaded: ModuleNotFoundError"):
        maker(made("gone").tune)
    with pytest.raises(BadInput, match=r"one of none, halving, asha, hyperband, median, mine, gone: got 'yours'"):
        made("yours")
