"""How a study stands: what is done, running, failed and missing adds up to what is planned, and says why."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from builders import record, study
from orchestrator.engine.heartbeat import Beat, Heartbeat, beats
from orchestrator.engine.status import SILENT_S, SPENT, Status, status_of
from orchestrator.errors import StorageFailed
from orchestrator.ledger.records import Status as Outcome
from orchestrator.ledger.records import now
from orchestrator.storage.store import LocalStore
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner


class Silent:
    """An observer that does nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *args: None


def planned() -> Planner:
    """Two cells of 3 + 2 trials (nothing is rescored); in the first, one ended, one failed, and one runs."""
    made = study(tune={"trials": 3, "parallel": 3, "rescore": 1, "sampler": "random"})
    planner = Planner(made, expand(made), lambda trial_id, phase: None)
    mine = []
    while len(mine) < 3:
        trial = planner.next()
        assert trial is not None
        if trial.cell.name.endswith("/l1"):
            mine.append(trial)
        else:
            planner.give_back(trial)
            planner.plans[1].charged += trial.epochs + 1  # so that the other cell is next
    planner.finish(mine[0], record(mine[0], 1.0))
    planner.finish(mine[1], record(mine[1], 1.0, "failed"))
    return planner


def beat(**changes: object) -> Beat:
    whole = Beat(0, 1, done=2, failed=1, running=1, total=10, ended=False, host="here", at=now())
    return replace(whole, **{"cells": {"nhanes-sbp/l1": 1}, **changes})


def test_done_running_failed_and_missing_are_what_is_planned() -> None:
    for said in ([], [beat()], [beat(ended=True)], [beat(cells={"nhanes-sbp/l1": 99})]):
        made = status_of(planned(), "here", said)
        assert made.planned == sum(cell.planned for cell in made.cells) == 10
        for one in (made, *made.cells):
            assert one.done + one.running + one.failed + one.missing == one.planned
            assert min(one.done, one.running, one.failed, one.missing) >= 0
        assert not made.complete


@pytest.mark.parametrize(
    ("silent_s", "running", "reason"),
    [
        (None, 0, "no driver is at work: tailsweep sweep tiny trains it"),
        (0, 1, "waits its turn"),
        (SILENT_S + 60, 0, "has said nothing for 1"),
    ],
)
def test_what_is_missing_has_a_reason(silent_s: float | None, running: int, reason: str) -> None:
    said = [] if silent_s is None else [beat(at=now() - timedelta(seconds=silent_s))]
    made = status_of(planned(), "here", said)
    assert made.running == running
    first, second = made.cells
    assert first.reason.startswith("1 failed: Diverged: the training loss became nan; ") and reason in first.reason
    assert reason in second.reason and second.missing == 5


def stood(changes: dict[str, Any], status: Outcome = "completed", most: int = 99) -> Status:
    """How a study stands when nothing more is given out, or so many trials have ended in this way."""
    made = study(tune={"trials": 3, "parallel": 3, "rescore": 1, "sampler": "random"}, **changes)
    planner = Planner(made, expand(made), lambda trial_id, phase: None)
    while most and (trial := planner.next()) is not None:
        planner.finish(trial, record(trial, 1.0, status))
        most -= 1
    return status_of(planner, "here", [])


def test_a_study_is_over_when_the_same_command_would_train_nothing_more() -> None:
    whole, part = stood({}), stood({}, most=4)
    assert whole.over and whole.complete and not part.over
    lost = stood({}, "failed")
    assert lost.over and lost.missing == 4 and lost.unselected == 2 and not lost.complete
    assert all(cell.reason == "3 failed: Diverged: the training loss became nan" for cell in lost.cells)
    poor = stood({"budget": {"trials": 7}})
    assert poor.over and poor.missing == 3 and not poor.complete
    assert [cell.reason for cell in poor.cells] == ["", SPENT]
    assert not stood({"budget": {"trials": 7}}, most=6).over


def test_programs_read_numbers_and_what_they_read_is_the_same_again() -> None:
    made = status_of(planned(), "here", [beat()])
    tree = json.loads(made.model_dump_json())
    assert tree["form"] == 1 and tree["failed"] == 1 and tree["cells"][0]["best"] is None
    assert Status.model_validate(tree) == made


def test_a_driver_says_what_runs_in_which_cell_and_takes_it_back_when_it_is_interrupted(tmp_path: Path) -> None:
    store, planner = LocalStore(tmp_path), planned()
    heartbeat = Heartbeat(Silent(), planner, store, 0, 1)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt), heartbeat.until_end():
        heartbeat.beat()
        (said,) = beats(store, "tiny")
        assert said.cells == {"nhanes-sbp/l1": 1} and not said.ended
        raise KeyboardInterrupt
    assert not beats(store, "tiny")
    with heartbeat.until_end():
        heartbeat.beat()
    (said,) = beats(store, "tiny")
    assert said.ended


def test_what_no_driver_wrote_is_told(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("tiny/shards/00000-of-00001.json", b"{}")
    with pytest.raises(StorageFailed, match="is not what a driver wrote"):
        beats(store, "tiny")
