"""A trial on a worker."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import builders
from orchestrator.engine.packs import run
from orchestrator.engine.trial import Job, _saved, data_here, restored
from orchestrator.errors import StorageFailed
from orchestrator.ledger.checkpoints import packed
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


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "junk": lambda data: b"junk" * 100,
    "a flipped bit": lambda data: data[:-500] + bytes([data[-500] ^ 1]) + data[-499:],
    "another trial's": lambda data: packed("another", data[data.find(b"PK") :]),
    "another version's": lambda data: STATE,
}
STATE = _saved("t", {"fit": {"nothing": 1}, "wall_s": 0.0})


@pytest.mark.parametrize("what", DAMAGED)
def test_a_checkpoint_that_cannot_be_used_is_told_and_the_trial_starts_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    made = builders.study(recipes={"also": ["l1"]}, storage=str(tmp_path), checkpoint_every_s=0)
    trial = builders.cell("l1").trial("tune", 0, {})
    job = Job.of(trial, 0, made, str(tmp_path))
    rows = run(job)
    next(rows)
    next(rows)
    rows.close()
    store = Ledger(str(tmp_path)).store
    data = store.get(job.checkpoint)
    assert data is not None
    broken = DAMAGED[what](data)
    store.put(job.checkpoint, packed(trial.id, broken[broken.find(b"PK") :]) if broken == STATE else broken)
    assert len(list(run(job))) == trial.epochs
    found = Ledger(str(tmp_path)).find(trial.id, "tune")
    assert found is not None
    assert (found.status, found.epochs_run) == ("completed", trial.epochs)
    assert "cannot be used" in caplog.text
    assert "the trial began anew" in (found.log or "")
    assert store.get(job.checkpoint) is None


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
