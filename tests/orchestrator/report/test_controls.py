"""Controls: fitted lines are what they are said to be, and nothing of them looks at test labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import study
from orchestrator.report.ahead import made_ahead
from orchestrator.report.controls import controls
from orchestrator.storage.store import LocalStore, open_store
from orchestrator.study.cells import data_root, expand, load_data
from reported import declared
from workloads import WORKLOADS
from workloads.workload import Data, Table, Units, Workload


def small(rows: int = 300) -> tuple[Workload, Data]:
    """A made-up table on blood pressure's grid: labels with a tail, inputs that say something of them."""
    rng = np.random.default_rng(0)
    y = (110 + 12 * rng.gamma(1.5, 1.0, rows)).clip(70, 230).astype(np.float32)
    x = np.stack([y + rng.normal(0, 10, rows), rng.normal(0, 1, rows)], axis=1).astype(np.float32)
    cuts = (slice(0, 200), slice(200, 250), slice(250, 300))
    train, val, test = (Table(torch.from_numpy(x[cut]), torch.from_numpy(y[cut])) for cut in cuts)
    return WORKLOADS["nhanes-sbp"], Data(train, val, test, Units(120, 15), "made-up")


def test_controls_are_rows_of_their_own_and_do_not_look_at_test_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAILSWEEP_CACHE", str(tmp_path / "first"))
    workload, data = small()
    rng = np.random.default_rng(3)
    validated = {n: (rng.normal(120, 10, 50), rng.normal(120, 10, 50)) for n in range(2)}
    found = controls(workload, data, "l1", validated, open_store(str(tmp_path / "a")))
    names = [control.name for control in found]
    assert names[:2] == ["training median", "training mean"]
    assert {"l1, affine on validation", "l1, isotonic on validation", "ridge", "ridge, affine out of fold"} <= set(
        names
    )
    monkeypatch.setenv("TAILSWEEP_CACHE", str(tmp_path / "second"))
    blind = replace(data, test=Table(data.test.inputs(torch.arange(50), torch.device("cpu")), torch.zeros(50)))
    for ours, theirs in zip(
        found, controls(workload, blind, "l1", validated, open_store(str(tmp_path / "b"))), strict=True
    ):
        for seed, pred in ours.predictions.items():
            assert np.array_equal(pred, theirs.predictions[seed])


def test_what_depends_on_the_data_alone_is_fitted_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload, data = small()
    store = open_store(str(tmp_path))
    first = controls(workload, data, "l1", {}, store)
    (key,) = store.keys("controls/")
    written = store.get(key)
    second = controls(workload, data, "l1", {}, store)
    assert [c.name for c in first] == [c.name for c in second]
    assert all(np.array_equal(a.predictions[None], b.predictions[None]) for a, b in zip(first, second, strict=True))
    store.put(key, b"rotten")
    controls(workload, data, "l1", {}, store)
    assert store.get(key) == written

    fits: list[str] = []
    monkeypatch.setattr(
        "orchestrator.report.controls._tabular", lambda workload, data: fits.append(workload.name) or first[2:]
    )
    other = open_store(str(tmp_path / "other"))
    controls(workload, data, "l1", {}, other)
    assert other.get(key) == written and not fits, "a node keeps them for other storages"
    (on_node,) = (cache / "controls").glob("*.parquet")
    on_node.write_bytes(b"rotten")
    controls(workload, data, "l1", {}, open_store(str(tmp_path / "third")))
    assert len(fits) == 1 and on_node.read_bytes() == written
    monkeypatch.setenv("TAILSWEEP_CACHE", str(on_node))
    controls(workload, data, "l1", {}, fourth := open_store(str(tmp_path / "fourth")))
    assert len(fits) == 2 and fourth.get(key) == written, "a node that keeps nothing is no fault"
    monkeypatch.setenv("TAILSWEEP_CACHE", str(cache))
    on_node.unlink()
    on_node.mkdir()
    controls(workload, data, "l1", {}, fifth := open_store(str(tmp_path / "fifth")))
    assert len(fits) == 3 and fifth.get(key) == written, "nor are they fitted twice where keeping them fails at its end"


def test_what_depends_on_the_data_alone_is_there_before_the_report_where_trials_ran(tmp_path: Path) -> None:
    made = study(workloads=[declared(tmp_path)], storage=str(tmp_path / "results"))
    expand(made)
    store = open_store(made.storage)
    with made_ahead(made, store):
        pass
    (key,) = store.keys("controls/")
    written = store.get(key)
    name = made.names[0]
    data = load_data(WORKLOADS[name], data_root(made), made.storage)
    assert len(controls(WORKLOADS[name], data, "l1", {}, store)) == 10 and store.get(key) == written
    (tmp_path / "file").write_text("")
    with made_ahead(made, LocalStore(tmp_path / "file" / "x")):
        pass  # what cannot be kept costs nothing


def test_classes_have_no_such_controls(tmp_path: Path) -> None:
    workload = WORKLOADS["digits-lt"]
    assert controls(workload, workload.load(None), "cross_entropy", {}, open_store(str(tmp_path))) == []
