from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from builders import cell, record, score
from orchestrator.cli.main import main
from orchestrator.errors import StorageFailed
from orchestrator.ledger.index import Index
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.parquet import to_parquet
from orchestrator.ledger.records import PREDICTIONS, SCHEMAS, Phase, Status


@pytest.mark.parametrize("phase", ["tune", "evaluate"])
@pytest.mark.parametrize("status", ["completed", "stopped", "failed"])
def test_a_record_is_read_as_it_was_committed(tmp_path: Path, phase: Phase, status: str) -> None:
    ledger = Ledger(str(tmp_path))
    written = record(cell().trial(phase, 1, {"lds.width": 9, "lds.sigma": 1.25}), 3.5, status)  # type: ignore[arg-type]
    assert ledger.find(written.trial_id, phase) is None
    assert ledger.commit(written, phase)
    read = ledger.find(written.trial_id, phase)
    assert read is not None
    if status == "failed" and phase == "evaluate":
        written = replace(written, test=())
    assert read == written
    assert {name: type(value) for name, value in read.settings.items()} == {
        name: type(value) for name, value in written.settings.items()
    }


def test_a_record_is_committed_once_and_the_first_counts(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    first = record(cell().trial("tune", 0, {}), 1.0)
    assert ledger.commit(first, "tune")
    assert not ledger.commit(replace(first, wall_s=99.0), "tune")
    assert ledger.find(first.trial_id, "tune") == first


def test_a_later_attempt_replaces_a_failed_one_and_both_are_kept(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    trial = cell().trial("tune", 0, {})
    ledger.commit(record(trial, 1.0, "failed"), "tune")
    ledger.commit(record(trial, 2.0, attempt=1), "tune")
    found = ledger.find(trial.id, "tune")
    assert found is not None
    assert (found.status, found.attempt) == ("completed", 1)
    assert ledger.read("tune").num_rows == 1
    assert len(ledger.store.keys("ledger/tune/")) == 2


@pytest.mark.parametrize(
    ("attempts", "counts"),
    [
        (("stopped", "completed"), 1),
        (("stopped", "failed", "completed"), 2),
        (("failed", "stopped"), 1),
        (("stopped", "failed"), 1),
        (("stopped", "stopped"), 1),
        (("completed", "completed"), 0),
    ],
)
@pytest.mark.parametrize("compacted", [False, True])
def test_the_first_complete_attempt_counts_else_the_last(
    tmp_path: Path, attempts: tuple[Status, ...], counts: int, compacted: bool
) -> None:
    ledger = Ledger(str(tmp_path))
    trial = cell().trial("tune", 0, {})
    for number, status in enumerate(attempts):
        assert ledger.commit(record(trial, 1.0, status, attempt=number), "tune")
    if compacted:
        ledger.compact("tune")
    found, indexed = (where.find(trial.id, "tune") for where in (ledger, Index(Ledger(str(tmp_path)))))
    assert found is not None and indexed is not None
    assert [found.attempt, indexed.attempt, *ledger.read("tune")["attempt"].to_pylist()] == [counts] * 3


def test_tune_records_have_no_place_for_test_scores(tmp_path: Path) -> None:
    assert "test" not in SCHEMAS["tune"].names
    ledger = Ledger(str(tmp_path))
    sneaky = record(cell().trial("tune", 0, {}), 1.0, test=(score(1.0),))
    ledger.commit(sneaky, "tune")
    assert "test" not in ledger.read("tune").column_names
    found = ledger.find(sneaky.trial_id, "tune")
    assert found is not None
    assert found.test is None


def test_reading_gives_one_arrow_table_in_the_schema(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    assert ledger.read("tune").schema == SCHEMAS["tune"]
    for number in range(20):
        ledger.commit(record(cell().trial("tune", number, {}), float(number)), "tune")
    table = ledger.read("tune")
    assert isinstance(table, pa.Table)
    assert table.schema == SCHEMAS["tune"]
    assert sorted(table["number"].to_pylist()) == list(range(20))


def test_reading_without_a_phase_gives_both_with_their_names(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    assert ledger.read().num_rows == 0
    phases: tuple[Phase, ...] = ("tune", "evaluate")
    for phase in phases:
        ledger.commit(record(cell().trial(phase, 0, {}), 1.0), phase)
    table = ledger.read()
    assert table["phase"].to_pylist() == ["tune", "evaluate"]
    assert table["test"].is_null().to_pylist() == [True, False]


def test_a_region_without_samples_is_null_and_not_zero(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    trial = cell().trial("tune", 0, {})
    ledger.commit(record(trial, 1.0, val=(score(None, "zero", count=0),)), "tune")
    found = ledger.find(trial.id, "tune")
    assert found is not None
    assert found.score("val/mae/zero") is None
    assert found.val[0].count == 0


def test_predictions_are_kept_by_row(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    ledger.commit_predictions("t", np.array([1, 2], np.float32), np.array([1.5, 1.0], np.float32))
    assert ledger.predictions("t").to_pydict() == {"row": [0, 1], "y": [1.0, 2.0], "pred": [1.5, 1.0]}


def test_a_damaged_record_costs_its_trial_only_and_is_trained_again_as_the_next_attempt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(str(tmp_path))
    first, other = (record(cell().trial("tune", number, {}), 1.0) for number in range(2))
    for one in (first, other):
        ledger.commit(one, "tune")
    key = f"ledger/tune/{first.trial_id}.0.parquet"
    ledger.store.put(key, b"not parquet")
    assert ledger.find(first.trial_id, "tune") is None
    assert f"{key} in the ledger cannot be read" in caplog.text
    assert f"the next sweep trains tune trial {first.trial_id} again" in caplog.text
    assert ledger.find(other.trial_id, "tune") == other
    assert ledger.read("tune")["trial_id"].to_pylist() == [other.trial_id]
    assert ledger.commit(first, "tune")
    assert ledger.find(first.trial_id, "tune") == replace(first, attempt=1)
    assert not ledger.commit(first, "tune"), "it is committed once, as before"
    assert len(ledger.read("tune")) == 2
    assert ledger.store.get(key) == b"not parquet", "nothing is deleted"
    ledger.compact("tune")
    assert Ledger(str(tmp_path)).find(first.trial_id, "tune") == replace(first, attempt=1)


FOREIGN = (
    "{phase}/.nfs000000000001", "{phase}/.DS_Store", "{phase}/x (1).parquet", "{phase}/desktop.ini",
    "{phase}/{id}.0 (1).parquet", "{phase}/._{id}.0.parquet", "{phase}/{id}.00.parquet", "{phase}/{id}.parquet",
    "{phase}/old/{id}.0.parquet", "{phase}/{id}.0.sync-conflict-20260101-120000-ABC.parquet", "{phase}/a\nb",
    "compact/{phase}/000000 (1).parquet", "compact/{phase}/.DS_Store", "compact/{phase}/backup/000000.parquet",
    "predictions/.nfs1", "predictions/{id} (1).parquet", "Thumbs.db", "backup/tune/{id}.0.parquet",
)  # fmt: skip


def test_foreign_files_are_left_alone_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    here, there = Ledger(str(tmp_path / "here")), Ledger(str(tmp_path / "there"))
    wanted = [record(cell().trial("tune", number, {}), 1.0) for number in range(3)]
    for one in wanted[:2]:
        here.commit(one, "tune")
    here.compact("tune")
    here.commit(wanted[2], "tune")
    paths = [here.store.locate("ledger/" + name.format(phase="tune", id=wanted[2].trial_id)) for name in FOREIGN]
    content = (tmp_path / "here" / "ledger" / "tune" / f"{wanted[2].trial_id}.0.parquet").read_bytes()
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    ids = sorted(one.trial_id for one in wanted)
    fresh = Ledger(here.store)
    assert fresh.read("tune")["trial_id"].to_pylist() == ids
    assert "it is left alone" in caplog.text
    here.commit(record(cell().trial("tune", 3, {}), 1.0), "tune")
    assert fresh.compact("tune") == 2
    assert main(["ledger", "copy", here.store.uri, there.store.uri]) == 0
    assert main(["ledger", "verify", here.store.uri]) == 0
    said = capsys.readouterr().out
    assert said.count("is none of the ledger's files: it is left alone") == len(FOREIGN)
    assert len(there.read("tune")) == 4
    assert all(Path(path).read_bytes() == content for path in paths)
    assert len(there.store.keys("ledger/")) == 2, "foreign files are not copied"


def test_a_record_of_a_newer_version_is_read_and_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(str(tmp_path))
    made = [record(cell().trial("tune", number, {}), 1.0) for number in range(3)]
    for one in made[:2]:
        ledger.commit(one, "tune")
    table = made[2].to_arrow("tune")
    key = f"ledger/tune/{made[2].trial_id}.0.parquet"
    newer = to_parquet(table.append_column("energy", pa.array([1.0])))
    ledger.store.put(key, newer)
    assert ledger.find(made[2].trial_id, "tune") == made[2]
    assert len(ledger.read("tune")) == 3
    assert "columns of a newer version, which are left alone: energy" in caplog.text
    assert ledger.compact("tune") == 2
    assert ledger.store.get(key) == newer
    assert main(["ledger", "verify", str(tmp_path)]) == 0
    assert "columns of a newer version: energy" in capsys.readouterr().out
    assert ledger.read("tune").schema == SCHEMAS["tune"]


@pytest.mark.parametrize("what", ["two rows", "foreign columns", "another trial", "another type"])
def test_a_file_that_holds_no_record_of_its_name_costs_its_trial_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, what: str
) -> None:
    ledger = Ledger(str(tmp_path))
    made = [record(cell().trial("tune", number, {}), 1.0) for number in range(3)]
    for one in made[:2]:
        ledger.commit(one, "tune")
    table = made[2].to_arrow("tune")
    table = {
        "two rows": pa.concat_tables([table, table]),
        "foreign columns": pa.table({"a": [1], "b": ["x"]}),
        "another trial": made[0].to_arrow("tune"),
        "another type": table.set_column(table.column_names.index("seed"), "seed", pa.array(["one"])),
    }[what]
    key = f"ledger/tune/{made[2].trial_id}.0.parquet"
    ledger.store.put(key, to_parquet(table))
    assert ledger.find(made[2].trial_id, "tune") is None
    assert len(ledger.read("tune")) == 2
    assert key in caplog.text
    assert ledger.compact("tune") == 2
    assert main(["ledger", "verify", str(tmp_path)]) == 4
    assert f"damaged: {key}" in capsys.readouterr().out
    assert ledger.commit(made[2], "tune")
    assert len(Ledger(str(tmp_path)).read("tune")) == 3
    assert ledger.store.get(key) == to_parquet(table)


def test_predictions_belong_to_the_record_that_won(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two workers train one attempt, and their machines do not give the same numbers."""
    ledger, trial = Ledger(str(tmp_path)), cell().trial("evaluate", 0, {})
    y = np.zeros(4, np.float32)
    winner = ledger.commit_predictions(trial.id, y, y + np.float32(1))
    loser = ledger.commit_predictions(trial.id, y, y + np.float32(9))
    assert ledger.commit(record(trial, 1.0, predictions=winner), "evaluate")
    assert not ledger.commit(record(trial, 9.0, predictions=loser), "evaluate")
    assert ledger.predictions(trial.id)["pred"].to_pylist() == [1.0] * 4
    assert ledger.commit_predictions(trial.id, y, y + np.float32(1)) == winner, "the same ones are written once"
    assert main(["ledger", "verify", str(tmp_path)]) == 0
    assert f"note: ledger/predictions/{trial.id}.{loser}.parquet belongs to no record" in capsys.readouterr().out
    ledger.store.delete(f"ledger/predictions/{trial.id}.{winner}.parquet")
    assert main(["ledger", "verify", str(tmp_path)]) == 4
    with pytest.raises(StorageFailed, match=f"{winner}.parquet is missing"):
        ledger.predictions(trial.id)


def test_predictions_that_do_not_give_the_scores_of_their_record_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the layout of older versions, where a loser's predictions replaced those of the record."""
    ledger, trial = Ledger(str(tmp_path)), cell().trial("evaluate", 0, {})
    y = np.zeros(4, np.float32)
    table = pa.table([pa.array(range(4), pa.int64()), y, y + np.float32(9)], schema=PREDICTIONS)
    ledger.store.put(f"ledger/predictions/{trial.id}.parquet", to_parquet(table))
    ledger.commit(record(trial, 1.0), "evaluate")
    assert ledger.predictions(trial.id).equals(table)
    assert main(["ledger", "verify", str(tmp_path)]) == 4
    assert "its record says test/mae/all = 1, its predictions give 9.0" in capsys.readouterr().out
