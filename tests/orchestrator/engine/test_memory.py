"""A trial that runs out of memory, and a worker that holds on to it."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import builders
from orchestrator.engine import memory
from orchestrator.engine.memory import Peak, Wear, resident_mb
from orchestrator.engine.packs import run
from orchestrator.engine.trial import NO_GPU, Job
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Record
from workloads.methods import METHODS
from workloads.recipe import PARTS

CPU = torch.device("cpu")
COUNT = itertools.count()
HUNGRY = '''
import os

import torch

from workloads.seam import Method


class Hungry(Method):
    """Has no memory for batches above a limit."""

    source = "made up"
    batch_matters = "HUNGRY_WHOLE" in os.environ

    def penalty(self, step):
        if len(step.batch.y) > int(os.environ["HUNGRY_LIMIT"]):
            raise torch.OutOfMemoryError(f"out of memory for {len(step.batch.y)} samples")
        return 0.001 * step.z.square().mean()


METHODS = {"hungry": Hungry}
'''


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Trains `l1 + hungry` with a plugin that has memory for so many samples; gives the record and what was told."""

    plugin = f"hungry_{next(COUNT)}"  # a module is imported once a process
    (tmp_path / f"{plugin}.py").write_text(HUNGRY, "utf-8")
    made = builders.study(
        recipes={"also": ["l1"]},
        storage=str(tmp_path / "s"),
        checkpoint_every_s=0,
        plugins=[plugin],
        plugins_from=str(tmp_path),
        train={"epochs": 3},
    )

    def train(limit: int, whole: bool = False, stop: int | None = None) -> tuple[Record | None, list[str]]:
        monkeypatch.setenv("HUNGRY_LIMIT", str(limit))
        if whole:
            monkeypatch.setenv("HUNGRY_WHOLE", "")
        trial = builders.cell("l1", train={"epochs": 3}).trial("tune", 0, {"train.batch_size": 64})
        told: list[str] = []
        job = Job(**{**vars(Job.of(trial, 0, made, made.storage)), "recipe": "l1 + hungry"})
        rows = run(job, told.append)
        for number, _ in enumerate(rows):
            if number == stop:
                rows.close()
        return Ledger(made.storage).find(trial.id, "tune"), told

    yield train
    for known in (METHODS, PARTS):
        known.pop("hungry", None)


def test_a_batch_that_does_not_fit_is_trained_in_two_pieces_and_the_record_says_so(trained: Any) -> None:
    record, told = trained(limit=32)
    assert record is not None
    assert (record.status, record.epochs_run) == ("completed", 3)
    assert "every batch was trained in 2 pieces, whose gradients were added" in (record.log or "")
    assert told == ["memory did not suffice for a batch of l1 + hungry: once more in 2 pieces"]


def test_a_half_that_does_not_fit_either_fails_the_trial_with_its_reason(trained: Any) -> None:
    record, _ = trained(limit=31)
    assert record is not None
    assert (record.status, record.error) == ("failed", "OutOfMemoryError: out of memory for 32 samples")
    assert "out of memory for 64 samples" in (record.log or "")


def test_a_part_that_must_see_the_batch_whole_is_not_trained_in_pieces(trained: Any) -> None:
    record, _ = trained(limit=32, whole=True)
    assert record is not None
    assert record.status == "failed"
    assert "and hungry must see it whole, so that it is not trained in pieces: lower" in (record.error or "")


def test_a_trial_in_pieces_that_is_interrupted_says_so_as_well(trained: Any) -> None:
    assert trained(limit=32, stop=1)[0] is None
    record, told = trained(limit=64)
    assert record is not None
    assert (record.epochs_run, told) == (3, [])
    assert "every batch was trained in 2 pieces" in (record.log or "")


def test_a_record_says_how_much_memory_its_trial_took(tmp_path: Path) -> None:
    made = builders.study(recipes={"also": ["l1"]}, storage=str(tmp_path))
    trial = builders.cell("l1").trial("tune", 0, {})
    list(run(Job.of(trial, 0, made, str(tmp_path))))
    record = Ledger(str(tmp_path)).find(trial.id, "tune")
    assert record is not None
    assert record.memory_mb is not None and record.memory_mb >= 0.9 * resident_mb() > 50
    assert record.device_memory_mb is None, "there is no GPU"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(tmp_path: Path) -> None:
    made = builders.study(recipes={"also": ["l1"]}, storage=str(tmp_path), resources={"gpus": 0.5})
    trial = builders.cell("l1").trial("tune", 0, {})
    told: list[str] = []
    list(run(Job.of(trial, 0, made, str(tmp_path)), told.append))
    record = Ledger(str(tmp_path)).find(trial.id, "tune")
    assert record is not None
    assert told == [NO_GPU] and NO_GPU in (record.log or "")


def test_the_peak_is_that_since_it_was_asked_for() -> None:
    before = Peak(CPU).taken()["memory_mb"]
    peak = Peak(CPU)
    torch.ones(60 << 18)  # 60 MB, gone at once
    taken = peak.taken()["memory_mb"]
    assert before is not None and taken is not None
    assert 50 < taken - before < 200


def test_a_worker_is_worn_after_so_many_trials() -> None:
    wear = Wear(3)
    assert [wear.trial_ended("a") or wear.worn for _ in range(3)] == [False, False, True]


def test_a_worker_that_holds_on_to_memory_is_worn_and_one_with_new_data_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    held = iter([100.0, 104.0, 180.0, 180.0, 200.0, 200.0, 280.0, 280.0])
    monkeypatch.setattr(memory, "resident_mb", lambda: next(held))
    wear, worn = Wear(1000), []
    for workload in ("small", "small", "large", "small", "large", "small"):
        wear.trial_ended(workload)
        worn.append(wear.worn)
    assert worn == [False, False, False, False, False, True]
