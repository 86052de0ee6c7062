"""A trial on a worker."""

import io
from pathlib import Path

import pytest
import torch

import builders
from orchestrator.engine.packs import run
from orchestrator.engine.saving import restored
from orchestrator.engine.trial import Job, data_here
from orchestrator.errors import StorageFailed
from orchestrator.ledger.ledger import Ledger


def test_data_lie_where_the_driver_says_or_else_where_the_node_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILSWEEP_DATA", str(tmp_path / "own"))
    assert data_here(str(tmp_path)) == tmp_path
    assert data_here(str(tmp_path / "elsewhere")) == tmp_path / "own"
    assert data_here(None) is None, "data that come with a package"
    monkeypatch.delenv("TAILSWEEP_DATA")
    assert data_here(str(tmp_path / "elsewhere")) == tmp_path / "elsewhere"


def test_a_checkpoint_that_cannot_be_used_is_told_in_the_log_of_the_worker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = builders.study(recipes={"also": ["l1"]}, storage=str(tmp_path))
    job = Job.of(builders.cell("l1").trial("tune", 0, {}), 0, made, str(tmp_path))
    Ledger(str(tmp_path)).store.put(job.checkpoint, b"junk")
    assert len(list(run(job))) == job.epochs
    assert "cannot be used" in caplog.text and "the trial began anew" in caplog.text


def test_a_checkpoint_of_before_there_were_checksums_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    buffer = io.BytesIO()
    torch.save({"fit": {"w": torch.ones(3)}, "wall_s": 2.0}, buffer)
    assert restored("checkpoints/t.pt", buffer.getvalue(), torch.device("cpu"))["wall_s"] == 2.0
    data = bytearray(buffer.getvalue())
    data[data.find(torch.ones(3).numpy().tobytes())] ^= 1
    with pytest.raises(StorageFailed, match=r"checkpoints/t\.pt is damaged"):
        restored("checkpoints/t.pt", bytes(data), torch.device("cpu"))


def test_a_trial_of_trees_is_interrupted_continued_and_recorded_like_one_of_a_network(tmp_path: Path) -> None:
    made = builders.study(recipes={"also": ["boosting + sqinv"]}, storage=str(tmp_path), checkpoint_every_s=0)
    trial = builders.cell("boosting + sqinv").trial("evaluate", 0, {"boosting.leaves": 8})
    scores = []
    for storage in (tmp_path / "whole", tmp_path / "cut"):
        job = Job.of(trial, 0, made, str(storage))
        if storage.name == "cut":
            rows = run(job)
            next(rows)
            next(rows)  # the checkpoint of the first epoch is written now
            rows.close()
            assert Ledger(str(storage)).store.get(job.checkpoint) is not None
        assert len(list(run(job))) == trial.epochs
        found = Ledger(str(storage)).find(trial.id, "evaluate")
        assert found is not None and found.status == "completed" and found.test
        scores.append((found.curve, found.val, found.test))
    assert scores[0] == scores[1]
