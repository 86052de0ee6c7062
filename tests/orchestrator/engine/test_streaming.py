"""A stream tells every trial once, and ends its sweep when it is left."""

from collections.abc import Callable
from pathlib import Path

import pytest

from builders import record, study
from orchestrator.engine.streaming import Through, streamed
from orchestrator.errors import StorageFailed
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Record
from orchestrator.study.cells import Trial, expand
from orchestrator.study.planner import Planner

TRIALS = 3 + 4
"""Of the study: those of the search, and seeds."""


class Nobody:
    """An observer that does nothing."""

    def began(self, trial: Trial) -> None: ...

    def finished(self, trial: Trial, record: Record) -> None: ...

    def lost(self, trial: Trial, reason: str) -> None: ...

    def told(self, trial: Trial, words: str) -> None: ...

    def tick(self) -> None: ...


def sweeping(storage: Path, before: Callable[[Trial], None] = lambda trial: None) -> Callable[[Through], Planner]:
    """A sweep by the real planner and ledger, of made-up records; `before` is called with every trial."""
    made = study(
        storage=str(storage),
        recipes={"also": ["l1"]},
        tune={"trials": 3, "parallel": 1, "rescore": 1, "sampler": "random"},
        evaluate={"seeds": 4},
    )
    ledger, cells = Ledger(made.storage), expand(made)

    def sweep(through: Through) -> Planner:
        planner = Planner(made, cells, ledger.find)
        observer = through(planner, Nobody())
        while (trial := planner.next()) is not None:
            observer.tick()
            before(trial)
            ledger.commit(record(trial, 4.0 + trial.number), trial.phase)
            found = ledger.find(trial.id, trial.phase)
            assert found is not None
            planner.finish(trial, found)
            observer.finished(trial, found)
        return planner

    return sweep


def committed(storage: Path) -> list[str]:
    ledger = Ledger(str(storage))
    return sorted(row for phase in ("tune", "evaluate") for row in ledger.read(phase)["trial_id"].to_pylist())


def test_every_trial_comes_once_and_what_was_there_comes_first(tmp_path: Path) -> None:
    every = [r.trial_id for r in streamed(sweeping(tmp_path))]
    assert sorted(every) == committed(tmp_path)
    assert len(every) == TRIALS
    for path in sorted((tmp_path / "ledger" / "evaluate").iterdir())[::2]:
        path.unlink()
    there = committed(tmp_path)
    again = [r.trial_id for r in streamed(sweeping(tmp_path))]
    assert sorted(again[: len(there)]) == there, "those of the ledger"
    assert sorted(again) == sorted(every)


def test_without_what_is_known_only_new_trials_come(tmp_path: Path) -> None:
    every = {r.trial_id for r in streamed(sweeping(tmp_path))}
    for path in sorted((tmp_path / "ledger" / "evaluate").iterdir())[::2]:
        path.unlink()
    there = set(committed(tmp_path))
    assert {r.trial_id for r in streamed(sweeping(tmp_path), known=False)} == every - there
    assert not list(streamed(sweeping(tmp_path), known=False))


@pytest.mark.parametrize("taken", [1, 5])
def test_a_loop_that_is_left_ends_the_sweep_and_loses_nothing(tmp_path: Path, taken: int) -> None:
    begun: list[str] = []
    loop = streamed(sweeping(tmp_path, lambda trial: begun.append(trial.id)))
    seen = [next(loop).trial_id for _ in range(taken)]
    loop.close()
    there = committed(tmp_path)
    assert set(seen) <= set(there), "what was told is in the ledger"
    assert there == sorted(begun), "a trial that was begun was finished, and none began after it"
    rest = [r.trial_id for r in streamed(sweeping(tmp_path), known=False)]
    assert not set(rest) & set(there), "nothing is trained twice"
    assert len(rest) + len(there) == TRIALS


def test_a_loop_that_is_left_among_what_was_there_begins_no_trial(tmp_path: Path) -> None:
    list(streamed(sweeping(tmp_path)))
    next((tmp_path / "ledger" / "evaluate").iterdir()).unlink()
    there = committed(tmp_path)
    for _ in streamed(sweeping(tmp_path)):
        break
    assert committed(tmp_path) == there


def test_an_error_in_the_loop_is_its_own_and_ends_the_sweep(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        for found in streamed(sweeping(tmp_path)):
            assert found.number / 0
    assert 1 <= len(committed(tmp_path)) <= TRIALS
    assert len(list(streamed(sweeping(tmp_path)))) == TRIALS


def test_an_error_of_the_sweep_is_raised_in_the_loop_after_what_was_committed(tmp_path: Path) -> None:
    def full(trial: Trial) -> None:
        if trial.number == 2:
            raise StorageFailed("the disk is full")

    seen = []
    with pytest.raises(StorageFailed, match="the disk is full"):
        for found in streamed(sweeping(tmp_path, full)):
            seen.append(found.trial_id)
    assert sorted(seen) == committed(tmp_path)


def test_what_another_driver_commits_meanwhile_comes_too(tmp_path: Path) -> None:
    def other(trial: Trial) -> None:
        if trial.phase == "evaluate" and trial.number == 0:
            second = trial.again("evaluate", trial.number, 1)
            Ledger(str(tmp_path)).commit(record(second, 5.0, number=1), "evaluate")

    found = [r.trial_id for r in streamed(sweeping(tmp_path, other))]
    assert sorted(found) == committed(tmp_path)
