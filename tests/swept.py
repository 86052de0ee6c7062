"""A study as if it had been swept: the planner's trials, with records and predictions made by a rule."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from builders import record, study
from orchestrator.api import outcome
from orchestrator.ledger.records import ScoreRow
from orchestrator.study.cells import Trial, data_root, load_data
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.labels import Floats
from workloads.metrics import shot_metrics
from workloads.workload import Data, Split

Predict = Callable[[Trial, Floats], Floats]
"""Predictions `[N]` of a trial for labels `[N]`."""
Instead = Callable[[Trial], Mapping[str, Any]]
"""What the record of a trial has instead, such as its status."""


def shrunk(trial: Trial, y: Floats) -> Floats:
    """Predictions between the labels and their mean; the more methods a recipe has, the nearer to the labels."""
    rng = np.random.default_rng([trial.number, len(y)])
    share = 0.5 + 0.08 * len(trial.cell.recipe.methods)
    return np.asarray(y.mean() + share * (y - y.mean()) + rng.normal(0, 0.5 * y.std(), len(y)))


def made_up(folder: Path, **changes: Any) -> Study:
    """A study of a table that lies in the folder: a skewed label, so that all shot regions have rows."""
    rng = np.random.default_rng(0)
    y = np.clip(rng.gamma(2.0, 4.0, 700), 0.5, 39.5)
    rows = np.stack([y + rng.normal(0, 3, len(y)), rng.normal(0, 1, len(y)), y], axis=1)
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "levels.csv", rows, fmt="%.3f", delimiter=",", header="first,second,level", comments="")
    table = {"name": "levels", "type": "table", "file": "levels.csv", "target": "level", "bin_width": 2, "low": 0}
    own = {**table, "high": 40, "many": 60, "few": 20, "title": "level", "unit": "mg/l"}
    places = {"storage": str(folder / "storage"), "data": str(folder)}
    combined = {"objectives": ["l1"], "combine": ["lds", "fds"], "also": ["l1 + sqinv"]}
    budget = {"tune": {"trials": 3, "parallel": 2, "rescore": 1}, "evaluate": {"seeds": 3}}
    return study(**{"workloads": [own], "recipes": combined, **budget, **places, **changes})


def sweep(swept: Study, predict: Predict = shrunk, instead: Instead = lambda trial: {}) -> None:
    """Fill the storage of a study: every trial is committed by the real ledger, as the real planner gives it out."""
    state = outcome(swept)
    planner, ledger = state.planner, state.ledger
    while (trial := planner.next()) is not None:
        workload = WORKLOADS[trial.cell.workload]
        data = load_data(workload, data_root(swept), swept.storage)
        changes = dict(instead(trial))
        if changes.get("status") != "failed":
            y, val = (split.y.numpy().astype(np.float64) for split in (data.test, data.val))
            on_val = predict(trial, val)
            changes = {"val": _scores(trial, data, data.val, on_val)} | changes
            if trial.phase == "evaluate":
                pred = predict(trial, y)
                name = ledger.commit_predictions(trial.id, y, pred)
                ledger.commit_validation(trial.id, name, val, on_val)
                changes = {"test": _scores(trial, data, data.test, pred), "predictions": name} | changes
        made = record(trial, 1.0, changes.pop("status", "completed"), study=swept.study, **changes)
        ledger.commit(made, trial.phase)
        planner.finish(trial, made)


def _scores(trial: Trial, data: Data, split: Split, pred: Floats) -> tuple[ScoreRow, ...]:
    workload = WORKLOADS[trial.cell.workload]
    y = split.y.numpy().astype(np.float64)
    found = shot_metrics(pred, y, workload.regions(data, split), workload.metrics, workload.grid.unit)
    return tuple(
        ScoreRow(metric, region, score.value, score.count)
        for region, metrics in found.items()
        for metric, score in metrics.items()
    )
