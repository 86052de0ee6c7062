"""Studies whose trials are all in a ledger, with predictions of every held-out row, without training."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from builders import record, study
from orchestrator.api import Outcome
from orchestrator.engine.saving import score_rows
from orchestrator.ledger.ledger import Ledger
from orchestrator.study.cells import Trial, data_root, expand, load_data
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.metrics import shot_metrics

Fails = Callable[[Trial], bool]


def slope(recipe: str) -> float:
    """How far predictions of a recipe follow the labels: each method brings a share of its own."""
    methods = recipe.split(" + ")[1:]
    return 0.35 + sum(hashlib.sha256(name.encode()).digest()[0] / 255 for name in methods) / (1 + len(methods)) / 2


def fill(made: Study, fails: Fails = lambda trial: False) -> Outcome:
    """Commit a record of every trial of a study: predictions are a line of the label, with noise of the seed."""
    ledger = Ledger(made.storage)
    planner = Planner(made, expand(made), ledger.find)
    while (trial := planner.next()) is not None:
        failed = fails(trial)
        outcome = record(trial, 0.0, "failed", study=made.study) if failed else _trained(made, trial, ledger)
        ledger.commit(outcome, trial.phase)
        planner.finish(trial, outcome)
    return Outcome(made, planner, ledger)


def _trained(made: Study, trial: Trial, ledger: Ledger) -> Any:
    workload = WORKLOADS[trial.cell.workload]
    data = load_data(workload, data_root(made), made.storage)
    found: dict[str, Any] = {}
    predicted = {}
    for name, split in (("val", data.val), ("test", data.test)):
        y = split.y.numpy().astype(np.float64)
        rng = np.random.default_rng([trial.seed, len(name), len(y)])
        line = data.units.offset + slope(str(trial.cell.recipe)) * (y - data.units.offset)
        pred = line + 0.3 * data.units.scale * (rng.normal(size=len(y)) + 0.2 * rng.normal())
        where = workload.regions(data, split)
        found[name] = score_rows(shot_metrics(pred, y, where, workload.metrics, workload.grid.unit))
        predicted[name] = y, pred
    if trial.phase == "tune":
        return record(trial, 0.0, val=found["val"], study=made.study)
    name = ledger.commit_predictions(trial.id, *predicted["test"])
    ledger.commit_validation(trial.id, name, *predicted["val"])
    ledger.commit_splits(workload.name, data)
    return record(trial, 0.0, val=found["val"], test=found["test"], predictions=name, study=made.study)


def declared(folder: Path, name: str = "potassium", rows: int = 400) -> dict[str, Any]:
    """A small table with a long tail of labels, two inputs, and bins of every region; written once."""
    file = folder / f"{name}.csv"
    if not file.exists():
        rng = np.random.default_rng(len(name))
        y = np.round(3.0 + rng.gamma(2.0, 2.0, rows), 2)
        lines = (
            f"{label},{label + 2 * noise:.3f},{noise:.3f}"
            for label, noise in zip(y, rng.normal(size=rows), strict=True)
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(["k,a,b", *lines]) + "\n")
    return {"name": name, "type": "table", "file": str(file), "target": "k", "bin_width": 1.0, "many": 40, "few": 15}


def filled(folder: Path, fails: Fails = lambda trial: False, **changes: Any) -> Outcome:
    """A study of one small table with two trials and three seeds, filled; the storage is `results` in the folder."""
    tree = {
        "workloads": [declared(folder)],
        "tune": {"trials": 2, "sampler": "random", "rescore": 1},
        "evaluate": {"seeds": 3},
        "storage": str(folder / "results"),
    }
    return fill(study(**tree | changes), fails)
