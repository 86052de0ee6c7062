"""Bits flip on disks: whatever is read is what was written, or it is told."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import cell, record
from orchestrator.cli.main import main
from orchestrator.engine.saving import restored, saved_as
from orchestrator.errors import StorageFailed
from orchestrator.ledger import repair, segments
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.parquet import SEAL
from orchestrator.ledger.records import Record
from workloads.cache import Rows, Source, Transform, decoded
from workloads.cache_checks import damage_of
from workloads.workload import DataError

KINDS = ("records", "predictions", "segments", "checkpoints", "cache")
TRANSFORM = Transform("bytes", (64,), lambda content, source: np.frombuffer(content, np.uint8))


def evaluated(ledger: Ledger, count: int) -> list[Record]:
    """Committed evaluate trials with their predictions."""
    made = []
    for number in range(count):
        trial, y = cell().trial("evaluate", number, {}), np.arange(20, dtype=np.float32)
        name = ledger.commit_predictions(trial.id, y, y + np.float32(number))
        made.append(record(trial, float(number), predictions=name))
        assert ledger.commit(made[-1], "evaluate")
    return made


def of_records(folder: Path) -> tuple[Path, Callable[[], object]]:
    (one,) = evaluated(Ledger(str(folder)), 1)
    key = f"ledger/evaluate/{one.trial_id}.0.parquet"
    return folder / key, lambda: Ledger(str(folder)).row("evaluate", (one.trial_id, 0))


def of_predictions(folder: Path) -> tuple[Path, Callable[[], object]]:
    (one,) = evaluated(Ledger(str(folder)), 1)
    key = f"ledger/predictions/{one.trial_id}.{one.predictions}.parquet"
    return folder / key, lambda: Ledger(str(folder)).predictions(one).to_pydict()


def of_segments(folder: Path) -> tuple[Path, Callable[[], object]]:
    made = evaluated(Ledger(str(folder)), 4)
    Ledger(str(folder)).compact("evaluate")

    def read() -> object:
        ledger = Ledger(str(folder))
        return [ledger.read("evaluate").to_pylist(), [ledger.find(one.trial_id, "evaluate") for one in made]]

    return folder / "ledger/compact/evaluate/000000.parquet", read


def of_checkpoints(folder: Path) -> tuple[Path, Callable[[], object]]:
    path, key = folder / "checkpoints/t.pt", "checkpoints/t.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(saved_as("t", {"fit": {"w": torch.arange(30.0)}, "wall_s": 1.5}))

    def read() -> object:
        state = restored(key, path.read_bytes(), torch.device("cpu"))
        return state["fit"]["w"].tolist(), state["wall_s"]

    return path, read


def of_cache(folder: Path) -> tuple[Path, Callable[[], object]]:
    (files := folder / "files").mkdir(parents=True)
    for number in range(8):
        (files / str(number)).write_bytes(random.Random(number).randbytes(64))
    sources = [Source(path, path.name) for path in sorted(files.iterdir())]
    decoded(sources, TRANSFORM, folder)
    (path,) = folder.glob("*.arrow")

    def read() -> object:
        rows = Rows(path, TRANSFORM)
        return len(rows), rows.digest, rows.read(torch.arange(len(rows))).tolist()

    return path, read


MADE = {
    "records": of_records,
    "predictions": of_predictions,
    "segments": of_segments,
    "checkpoints": of_checkpoints,
    "cache": of_cache,
}
TOLD = (StorageFailed, DataError, ValueError, OSError, LookupError, TypeError)
"""`Rows` is opened by `decoded`, which makes the file anew whatever is raised."""


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def try_flips(tmp_path: Path, kind: str, flips: int) -> None:
    path, read = MADE[kind](tmp_path / "made")
    data, wanted = path.read_bytes(), read()
    chosen = random.Random(kind).sample(range(8 * len(data)), flips)
    told = 0
    for bit in chosen:
        path.write_bytes(flipped(data, bit))
        try:
            found = read()
        except TOLD:
            told += 1
        else:
            assert found == wanted, f"bit {bit} of {path.name} changed what is read, and nobody said so"
    path.write_bytes(data)
    assert read() == wanted
    assert told > flips / 2, "the rest fell into padding, or into what is there twice"


@pytest.mark.parametrize("kind", KINDS)
def test_a_bit_that_flips_changes_nothing_silently(tmp_path: Path, kind: str) -> None:
    try_flips(tmp_path, kind, 40)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_of_2000_bits_that_flip_none_changes_anything_silently(tmp_path: Path, kind: str) -> None:
    try_flips(tmp_path, kind, 400)


@pytest.mark.parametrize("kind", KINDS)
def test_verify_reads_them_all_and_names_what_is_damaged(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tmp_path / "made"
    monkeypatch.setenv("TAILSWEEP_CACHE", str(storage))
    path, _ = MADE[kind](storage)
    data = path.read_bytes()
    if kind in {"cache", "checkpoints"}:
        evaluated(Ledger(str(storage)), 1)
    assert main(["ledger", "verify", str(storage)]) == 0
    place = {"cache": data.find((storage / "files/3").read_bytes()) if kind == "cache" else 0}.get(kind, len(data) // 3)
    path.write_bytes(flipped(data, 8 * place))
    assert main(["ledger", "verify", str(storage)]) == 4
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("damaged: ")]
    assert any(path.name in line for line in said)


def test_a_row_of_the_cache_that_rots_is_decoded_again_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, read = of_cache(tmp_path)
    wanted = read()
    data, third = path.read_bytes(), (tmp_path / "files/3").read_bytes()
    path.write_bytes(flipped(data, 8 * data.find(third)))
    assert "a row does not fit" in str(damage_of(path))
    sources = [Source(file, file.name) for file in sorted((tmp_path / "files").iterdir())]
    rows = decoded(sources, TRANSFORM, tmp_path)
    assert (len(rows), rows.digest, rows.read(torch.arange(8)).tolist()) == wanted
    assert "is damaged on the disk (row 3): it is made again" in caplog.text
    assert decoded(sources, TRANSFORM, tmp_path).read(torch.arange(8)).tolist() == wanted[2]  # type: ignore[index]
    assert damage_of(path) is None


def test_a_damaged_segment_is_told_with_what_it_holds_and_repaired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "ROWS", 2)
    monkeypatch.setattr(repair, "ROWS", 2)
    storage = str(tmp_path)
    made = evaluated(Ledger(storage), 6)
    Ledger(storage).compact("evaluate")
    path = tmp_path / "ledger/compact/evaluate/000000.parquet"
    data = path.read_bytes()
    path.write_bytes(flipped(data, 8 * 1000))
    with pytest.raises(StorageFailed, match=r"keeps the 4 of its 6 records .*trains the others .* nhanes-sbp/l1"):
        Ledger(storage).read("evaluate")
    assert main(["ledger", "repair", storage]) == 0
    assert "4 of 6 records kept" in capsys.readouterr().out
    kept = Ledger(storage).read("evaluate")["trial_id"].to_pylist()
    assert len(kept) == 4
    for one in made:
        found = Ledger(storage).find(one.trial_id, "evaluate")
        assert found == (one if one.trial_id in kept else None)
        assert Ledger(storage).commit(one, "evaluate") is (one.trial_id not in kept)
    assert (tmp_path / "ledger/damaged/compact/evaluate/000000.parquet").read_bytes() == flipped(data, 8 * 1000)
    assert main(["ledger", "verify", storage]) == 0
    assert len(Ledger(storage).read("evaluate")) == 6


@pytest.mark.parametrize("where", ["footer", "length", "seal"])
def test_a_segment_whose_footer_is_damaged_loses_nothing(tmp_path: Path, where: str) -> None:
    storage = str(tmp_path)
    made = evaluated(Ledger(storage), 4)
    Ledger(storage).compact("evaluate")
    path = tmp_path / "ledger/compact/evaluate/000000.parquet"
    data = path.read_bytes()
    place = {"footer": data.rfind(SEAL) + 200, "length": len(data) - 6, "seal": data.rfind(SEAL) - 30}[where]
    path.write_bytes(flipped(data, 8 * place))
    assert main(["ledger", "repair", storage]) == 0
    for one in made:
        assert Ledger(storage).find(one.trial_id, "evaluate") == one


@pytest.mark.parametrize("compacted", [False, True])
def test_a_repair_sets_aside_records_and_lost_predictions_and_the_trials_are_trained_again(
    tmp_path: Path, compacted: bool
) -> None:
    storage = str(tmp_path)
    ledger = Ledger(storage)
    made = evaluated(ledger, 4)
    if compacted:
        ledger.compact("evaluate")
    tuned = record(cell().trial("tune", 0, {}), 1.0)
    ledger.commit(tuned, "tune")
    (tmp_path / f"ledger/tune/{tuned.trial_id}.0.parquet").write_bytes(b"rot")
    predictions = tmp_path / f"ledger/predictions/{made[1].trial_id}.{made[1].predictions}.parquet"
    predictions.write_bytes(flipped(predictions.read_bytes(), 999))
    assert main(["ledger", "verify", storage]) == 4
    assert main(["ledger", "repair", storage]) == 0
    assert main(["ledger", "verify", storage]) == 0
    ledger = Ledger(storage)
    assert ledger.find(tuned.trial_id, "tune") is None
    assert ledger.find(made[1].trial_id, "evaluate") is None
    assert ledger.find(made[2].trial_id, "evaluate") == made[2]
    y = np.arange(20, dtype=np.float32)
    assert ledger.commit_predictions(made[1].trial_id, y, y + np.float32(1)) == made[1].predictions
    assert ledger.commit(made[1], "evaluate")
    assert ledger.commit(tuned, "tune")
    again = Ledger(storage).find(made[1].trial_id, "evaluate")
    assert again is not None
    assert replace(again, attempt=0) == made[1]
    assert Ledger(storage).predictions(again)["pred"].to_pylist() == (y + np.float32(1)).tolist()
    assert main(["ledger", "verify", storage]) == 0
