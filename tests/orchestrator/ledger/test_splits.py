"""Predictions can be joined with the file that the data came from, and a ledger is a flat table in one call."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from builders import record, score, study
from orchestrator.engine.trial import _test
from orchestrator.ledger.checking import verify
from orchestrator.ledger.copying import copy
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.names import split_key
from orchestrator.ledger.repair import repair
from orchestrator.study.cells import expand
from own import labels, own, parquet
from workloads.data.custom.rows import build
from workloads.workload import Data, Workload


def table(folder: Path) -> tuple[Workload, pd.DataFrame]:
    """Sixty rows in no order of their labels."""
    order = np.random.default_rng(0).permutation(60)
    file = parquet(folder, y=[labels()[row] for row in order], x=[float(row) for row in order])
    return build(own(file), None), pd.read_parquet(file)


def images(folder: Path) -> tuple[Workload, pd.DataFrame]:
    """Thirty images of one colour each."""
    frame = pd.DataFrame({"file": [f"{row:02}.png" for row in range(30)], "y": [float(row % 3) for row in range(30)]})
    for row, name in enumerate(frame["file"]):
        Image.new("RGB", (8, 8), (row, row, row)).save(folder / name)
    frame.to_csv(folder / "data.csv", index=False)
    declared = own(folder / "data.csv", type="images", size=8, folder=str(folder))
    return build(declared, None), frame


def evaluated(ledger: Ledger, workload: Workload, data: Data, monkeypatch: pytest.MonkeyPatch) -> str:
    """Keep predictions of an evaluate trial as a worker does; returns its id."""
    trial = expand(study())[0].trial("evaluate", 0, {})
    labels_of: Callable[..., np.ndarray] = lambda split: split.y.numpy().astype(np.float64)  # noqa: E731
    fit = SimpleNamespace(labels=labels_of, predict=lambda split: labels_of(split) + 1, metrics=("mae",))
    job = SimpleNamespace(trial_id=trial.id, attempt=0, workload=workload.name, keep_model=False)
    monkeypatch.setitem(__import__("workloads").WORKLOADS, workload.name, workload)
    _, name = _test(job, ledger, fit, data)
    ledger.commit(record(trial, 1.0, workload=workload.name, data=data.fingerprint, predictions=name), phase="evaluate")
    return trial.id


@pytest.mark.parametrize("made", [table, images])
def test_a_prediction_names_the_row_of_the_file_that_it_is_of(
    made: Callable[[Path], tuple[Workload, pd.DataFrame]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload, file = made(tmp_path)
    data, ledger = workload.load(None), Ledger(str(tmp_path / "results"))
    trial_id = evaluated(ledger, workload, data, monkeypatch)
    fresh = Ledger(str(tmp_path / "results"))
    joined = fresh.predictions(trial_id).to_pandas().merge(file, left_on="file_row", right_index=True)
    assert len(joined) == len(data.test.y)
    assert (joined["y_x"] == joined["y_y"]).all()
    if "file" in file:
        assert (joined["name"] == joined["file"]).all()
    kept = fresh.splits(workload.name, data.fingerprint)
    assert kept is not None
    assert sorted(kept["file_row"].to_pylist()) == list(range(len(file))), "train, val and test are the whole file"


def test_a_ledger_without_splits_is_read_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workload, _ = table(tmp_path)
    data = workload.load(None)
    ledger = Ledger(str(tmp_path / "results"))
    trial_id = evaluated(ledger, workload, data, monkeypatch)
    ledger.store.delete(split_key(workload.name, data.fingerprint))
    assert Ledger(str(tmp_path / "results")).predictions(trial_id).column_names == ["row", "y", "pred"]


def test_splits_are_copied_verified_and_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    workload, _ = table(tmp_path)
    data, key = workload.load(None), split_key(workload.name, workload.load(None).fingerprint)
    source, target = Ledger(str(tmp_path / "a")), Ledger(str(tmp_path / "b"))
    trial_id = evaluated(source, workload, data, monkeypatch)
    copy(source, target, print)
    assert target.store.get(key) == source.store.get(key)
    assert not verify(target).damage and not verify(target).notes
    target.store.put(key, b"PAR1 and no more")
    (damage,) = verify(target).damage
    assert key in damage
    assert Ledger(str(tmp_path / "b")).predictions(trial_id).column_names == ["row", "y", "pred"]
    assert repair(target.store, print) == 1
    assert target.store.get(key) is None and not verify(target).damage


def test_a_ledger_is_a_flat_table_of_settings_and_scores(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    first, second = expand(study())
    trials = [second.trial("evaluate", 0, {"lds.sigma": 1.5}), first.trial("evaluate", 0, {})]
    for number, trial in enumerate(trials):
        test = (score(0.5 + number), score(None, "few"))
        ledger.commit(record(trial, 1.0, test=test), "evaluate")
    ledger.commit(record(second.trial("tune", 0, {"lds.sigma": 1.5}), 3.0), "tune")
    frame = ledger.frame("evaluate").set_index("recipe")
    assert frame.loc["l1 + lds", "lds.sigma"] == 1.5 and np.isnan(frame.loc["l1", "lds.sigma"])
    assert frame.loc["l1", "test/mae/all"] == 1.5 and np.isnan(frame.loc["l1", "test/mae/few"])
    assert frame.loc["l1", "val/mae/few"] == 2.0
    both = ledger.table()
    assert both.column_names[0] == "phase" and len(both) == 3
    tuned = both.to_pandas().set_index("phase").loc["tune"]
    assert np.isnan(tuned["test/mae/all"]) and tuned["val/mae/all"] == 3.0


def test_an_empty_ledger_is_an_empty_table(tmp_path: Path) -> None:
    assert len(Ledger(str(tmp_path)).frame()) == 0
