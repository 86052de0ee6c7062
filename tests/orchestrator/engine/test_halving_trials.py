"""Successive halving with trials that train, in this process: rungs, checkpoints, waiting, stopping, and going on."""

import random
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import builders
from in_process import Quiet
from orchestrator.engine.packs import Jobs, Packer, run
from orchestrator.engine.trial import Job
from orchestrator.engine.watch import Watch
from orchestrator.ledger.ledger import Ledger
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from running import results

EPOCHS = 4


def study(storage: Path, **changes: Any) -> Study:
    """A cell whose search is one population of four, with rungs at 1 and 2 of 4 epochs."""
    tune = {"trials": 4, "population": 4, "scheduler": "halving", "sampler": "random", "rescore": 1}
    return builders.study(
        **{
            "recipes": {"also": ["l1"]},
            "storage": str(storage),
            "train": {"epochs": EPOCHS},
            "tune": tune,
            "evaluate": {"seeds": 1},
            **changes,
        }
    )


def sweep(made: Study, dice: random.Random | None = None, legs: int | None = None, workers: int = 3) -> Planner:
    """Sweep as Tune does, with workers that take turns by dice; returns after so many legs of packs."""
    ledger = Ledger(made.storage)
    planner = Planner(made, expand(made), ledger.find)

    def job_of(trial: Any) -> Job:
        earlier = ledger.find(trial.id, trial.phase)
        return Job.of(trial, 0 if earlier is None else earlier.attempt + 1, made, made.storage, planner.until(trial))

    watch = Watch(planner, ledger, Quiet(), job_of)
    packer = Packer(planner, workers, False, watch.alone)
    running: list[list[Job]] = []
    while not planner.done and legs != 0:
        while len(running) < workers and (trials := packer.next()):
            running.append([job_of(trial) for trial in trials])
            for trial in trials:
                watch.begin(trial)
        train(running.pop(0 if dice is None else dice.randrange(len(running))), watch)
        legs = None if legs is None else legs - 1
    return planner


def train(jobs: list[Job], watch: Watch) -> None:
    """Train a pack as a worker does, and tell of every epoch."""
    pack, reported = Jobs(jobs, lambda job, words: None), set[str]()
    of_tune = SimpleNamespace(
        config={"jobs": list(map(asdict, jobs))},
        trial_id=jobs[0].trial_id,
        last_result={},
        run_metadata=SimpleNamespace(metric_analysis={}, metric_n_steps={}),
    )
    while not pack.done:
        rows = [{"trial_id": job.trial_id, **asdict(row)} for job, row in pack.advance()]
        ended = {job.trial_id: said and asdict(said) for job, said in pack.ended if job.trial_id not in reported}
        reported |= ended.keys()
        watch.on_trial_result(0, [], of_tune, {"rows": rows, "ended": ended, "told": [], "done": pack.done})
    watch.on_trial_complete(0, [], of_tune)
    pack.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of a sweep that nobody interrupts."""
    storage = tmp_path_factory.mktemp("whole")
    sweep(study(storage))
    return storage


def test_trials_are_stopped_at_their_rung_and_leave_nothing_behind(whole: Path) -> None:
    rows = Ledger(str(whole)).read("tune").to_pylist()
    assert sorted((row["epochs_run"], row["status"]) for row in rows) == [
        (1, "stopped"),
        (1, "stopped"),
        (2, "stopped"),
        (4, "completed"),
    ]
    for row in rows:
        assert len(row["curve"]) == row["epochs_run"] and row["wall_s"] > 0 and row["device"].startswith("cpu")
        scores = [
            next(s["value"] for s in point["val"] if (s["metric"], s["region"]) == ("mae", "all"))
            for point in row["curve"]
        ]
        kept = next(s["value"] for s in row["val"] if (s["metric"], s["region"]) == ("mae", "all"))
        assert kept == min(scores), "a record has the scores of the epoch that would have been kept"
    assert not list(whole.glob("checkpoints/*")), "no trial waits any more"


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_decisions_depend_on_no_order_and_survive_any_interruption(whole: Path, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    while not sweep(study(tmp_path), dice, legs=dice.randint(1, 5)).done:
        pass
    assert results(tmp_path) == results(whole)


@pytest.mark.parametrize(("workers", "legs"), [(1, None), (2, 3)])
def test_trials_that_are_packed_to_their_rungs_have_the_results_that_they_have_alone(
    whole: Path, tmp_path: Path, workers: int, legs: int | None
) -> None:
    made = study(tmp_path, resources={"pack": "auto"})
    while not sweep(made, random.Random(0), legs, workers).done:
        pass
    assert results(tmp_path) == results(whole)
    assert not list(tmp_path.glob("checkpoints/*")), "no trial waits any more"


def test_a_trial_that_goes_on_ends_as_if_it_had_never_waited(whole: Path, tmp_path: Path) -> None:
    sweep(study(tmp_path, tune={"trials": 4, "sampler": "random", "rescore": 1}))
    full, halved = results(tmp_path), results(whole)
    (ended,) = (row for row in Ledger(str(whole)).read("tune").to_pylist() if row["status"] == "completed")
    assert full[ended["trial_id"]] == halved[ended["trial_id"]]


def test_what_waits_says_its_epochs_at_once(tmp_path: Path) -> None:
    made = study(tmp_path)
    trial = builders.cell("l1").trial("tune", 0, {"train.epochs": EPOCHS})
    job = Job.of(trial, 0, made, made.storage, until=2)
    assert job.until == 2 and Job.of(trial, 0, made, made.storage, until=EPOCHS).until is None
    store = Ledger(made.storage).store
    first = list(run(job))
    saved = store.get(job.checkpoint)
    assert len(first) == 2 and saved is not None and Ledger(made.storage).find(trial.id, "tune") is None
    assert list(run(job)) == first and store.get(job.checkpoint) == saved, "it trained nothing"
    assert [row.epoch for row in run(Job.of(trial, 0, made, made.storage))] == [0, 1, 2, 3]
    found = Ledger(made.storage).find(trial.id, "tune")
    assert found is not None and found.curve[:2] == tuple(first)
