from types import SimpleNamespace
from typing import Any

from builders import record, study
from orchestrator.engine.early_stopping import SCHEDULERS, PerCellScheduler
from orchestrator.ledger.records import CurveRow, ScoreRow
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner

RULE = "val/mae/all"


def result(epoch: int, value: float, done: bool = False) -> dict[str, Any]:
    row = {"epoch": epoch, "stage": 0, "loss": 1.0}
    return {"done": done, "rows": [{**row, "val": [{"metric": "mae", "region": "all", "value": value, "count": 1}]}]}


def trial(name: str, cell: str, searches: bool = True) -> Any:
    return SimpleNamespace(trial_id=name, config={"cell": cell, "searches": searches, "jobs": [{"epochs": 27}]})


def scheduler(find: Any = lambda trial_id, phase: None) -> PerCellScheduler:
    made = study(train={"epochs": 27}, tune={"trials": 30, "parallel": 30})
    make = SCHEDULERS["asha"]
    assert make is not None
    return PerCellScheduler(Planner(made, expand(made), find), make, RULE)


def decide(found: PerCellScheduler, name: str, cell: str, values: list[float], searches: bool = True) -> int | None:
    """The epoch after which a trial with these scores is stopped, or None."""
    t = trial(name, cell, searches)
    found.on_trial_add(None, t)
    for epoch, value in enumerate(values):
        if found.on_trial_result(None, t, result(epoch, value)) == "STOP":
            return epoch
    return None


def test_bad_trials_of_a_cell_are_stopped_once_there_are_enough_of_them() -> None:
    found = scheduler()
    stopped = [decide(found, f"t{n}", "cell", [float(n)] * 20) for n in range(12)]
    assert stopped[:8] == [None] * 8, "no trial is stopped before the population is there"
    assert all(epoch is not None for epoch in stopped[9:])


def test_cells_do_not_stop_each_others_trials() -> None:
    found = scheduler()
    for n in range(12):
        decide(found, f"a{n}", "a", [1.0 + n / 100] * 20)
    assert decide(found, "b0", "b", [1000.0] * 20) is None


def test_trials_that_rescore_or_evaluate_are_never_stopped() -> None:
    found = scheduler()
    for n in range(12):
        decide(found, f"t{n}", "cell", [1.0] * 20)
    assert decide(found, "e", "cell", [1000.0] * 20, searches=False) is None


def test_rungs_are_rebuilt_from_the_ledger() -> None:
    made = study(train={"epochs": 27}, tune={"trials": 30, "parallel": 30}, recipes={"also": ["l1 + lds"]})
    (cell,) = expand(made)
    empty = Planner(made, [cell], lambda trial_id, phase: None)
    done = {}
    for n, t in enumerate(empty.plans[0].trials["tune"][:12]):
        scores = (ScoreRow("mae", "all", 1.0 + n / 100, 1),)
        curve = tuple(CurveRow(e, 0, 1.0, scores) for e in range(27))
        done[t.id] = record(t, 1.0, curve=curve, val=scores)
    planner = Planner(made, [cell], lambda trial_id, phase: done.get(trial_id))
    make = SCHEDULERS["asha"]
    assert make is not None
    fresh = PerCellScheduler(planner, make, RULE)
    assert decide(fresh, "new", cell.name, [1000.0] * 20) == 2  # the first rung is at epochs // 9 = 3 epochs
