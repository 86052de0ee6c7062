"""A trial in this process, on disks and checkpoints that are not as they should be."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from builders import cell, study
from orchestrator.engine import trial as module
from orchestrator.engine.faults import NotReady
from orchestrator.engine.packs import run
from orchestrator.engine.trial import Job
from orchestrator.errors import Preempted
from orchestrator.ledger.checkpoints import packed, unpacked
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Record
from workloads.loop import Fit

EPOCHS = 4


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Workers open a ledger once; here every test has its own."""
    yield
    module._ledger.cache_clear()


def job(storage: Path, number: int = 0) -> Job:
    made = study(storage=str(storage), train={"epochs": EPOCHS}, checkpoint_every_s=0)
    return Job.of(cell("l1", train={"epochs": EPOCHS}).trial("tune", number, {}), 0, made, str(storage))


def finished(of: Job) -> tuple[Record, list[str]]:
    """The record of a job that is run to its end, and what was told."""
    told: list[str] = []
    for _ in run(of, told.append):
        pass
    record = Ledger(of.storage).find(of.trial_id, of.phase)
    assert record is not None
    assert not (Path(of.storage) / of.checkpoint).exists()
    return record, told


def interrupted(of: Job, epochs: int = 2) -> Path:
    """The checkpoint of a job whose machine is taken away after so many epochs."""
    training = run(of)
    for _ in range(epochs):
        next(training)
    with pytest.raises(StopIteration):
        training.throw(Preempted())
    return Path(of.storage) / of.checkpoint


def outcome(record: Record) -> tuple[Any, ...]:
    return record.status, record.kept_epoch, record.val, record.curve, record.error


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    record, told = finished(job(tmp_path_factory.mktemp("whole")))
    module._ledger.cache_clear()
    assert (record.status, told) == ("completed", [])
    return outcome(record)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """That of the job, whose machine was taken away."""
    made = interrupted(job(tmp_path_factory.mktemp("interrupted"))).read_bytes()
    module._ledger.cache_clear()
    return made


def kept(path: Path) -> bytes:
    """What torch wrote of a checkpoint."""
    return unpacked(f"checkpoints/{path.name}", path.read_bytes())


def changed(change: Any) -> Any:
    """A damage that rewrites what a checkpoint holds, with checksums that fit."""

    def damage(path: Path) -> None:
        state = torch.load(io.BytesIO(kept(path)), weights_only=True)
        change(state)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        path.write_bytes(packed(path.stem, buffer.getvalue()))

    return damage


def flipped(data: bytes) -> bytes:
    return data[:-500] + bytes([data[-500] ^ 1]) + data[-499:]


DAMAGES = {
    "is empty": lambda path: path.write_bytes(b""),
    "is cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "is junk": lambda path: path.write_bytes(b"\x00\xffjunk" * 1000),
    "is a pickle of code": lambda path: path.write_bytes(b"cos\nsystem\n(S'true'\ntR."),
    "is no mapping": lambda path: torch.save([1, 2], path),
    "has a bit that flipped": lambda path: path.write_bytes(flipped(path.read_bytes())),
    "is of another trial": lambda path: path.write_bytes(
        packed("0" * 20, unpacked(f"checkpoints/{path.name}", path.read_bytes()))
    ),
    "lacks a part of its state": changed(lambda state: state["fit"].pop("order")),
    "has weights of another shape": changed(
        lambda state: state["fit"]["model"].update({k: v[..., None] for k, v in state["fit"]["model"].items()})
    ),
    "has weights that are not finite": changed(
        lambda state: [v.fill_(torch.nan) for v in state["fit"]["model"].values() if v.is_floating_point()]
    ),
    "is of another version": changed(lambda state: state.update(fit={"nothing": 1})),
    "has an epoch twice": changed(lambda state: state["fit"]["curve"].append(state["fit"]["curve"][-1])),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_cannot_be_used_is_told_and_dropped_and_the_trial_starts_anew(
    damage: str, whole: tuple[Any, ...], checkpoint: bytes, tmp_path: Path
) -> None:
    of = job(tmp_path)
    path = tmp_path / of.checkpoint
    path.parent.mkdir()
    path.write_bytes(checkpoint)
    DAMAGES[damage](path)
    record, told = finished(of)
    assert outcome(record) == whole
    assert len(told) == 1
    assert re.match(rf"the checkpoint {re.escape(str(path))} cannot be used \(.+\): the trial began anew", told[0])
    assert len(told[0]) < 600
    assert told[0] in (record.log or "")


def test_a_sound_checkpoint_is_continued_without_a_word(whole: tuple[Any, ...], tmp_path: Path) -> None:
    of = job(tmp_path)
    interrupted(of, 3)
    record, told = finished(of)
    assert (outcome(record), told) == (whole, [])


def test_a_node_that_lacks_data_or_plugins_is_not_the_trials_fault(tmp_path: Path) -> None:
    sound = job(tmp_path)
    for changes, words in (
        ({"plugins": ("no_such_plugin",)}, "cannot prepare nhanes-sbp: .*no_such_plugin"),
        ({"data": "0" * 16}, "the data changed: the study began on 0000000000000000"),
    ):
        with pytest.raises(NotReady, match=words):
            next(run(Job(**{**vars(sound), **changes})))
    assert not Ledger(str(tmp_path)).store.keys("ledger/")


def test_the_error_of_a_failed_trial_is_one_line_of_bounded_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("one\n\x1b[31mtwo " + "x" * 5_000_000)

    monkeypatch.setattr(Fit, "steps", fail)
    record, _ = finished(job(tmp_path))
    assert record.status == "failed"
    assert (record.error or "").startswith(r"RuntimeError: one \x1b[31mtwo xxx")
    assert len(record.error or "") == 300
    assert len(record.log or "") <= 4000
