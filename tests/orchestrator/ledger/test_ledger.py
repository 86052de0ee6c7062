from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from builders import cell, record, score
from orchestrator.errors import StorageFailed
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import SCHEMAS, Phase


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


def test_a_record_that_cannot_be_read_is_named_with_the_way_out(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    ledger.store.put("ledger/tune/abc.0.parquet", b"not parquet")
    with pytest.raises(StorageFailed, match=r"tune record of trial abc .*remove it to train the trial again"):
        ledger.find("abc", "tune")
