"""Studies and records that tests build on."""

from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.ledger.records import CurveRow, Record, ScoreRow, Status
from orchestrator.study.cells import Cell, Trial
from orchestrator.study.spec import Study
from workloads.recipe import Recipe

START = datetime(2026, 1, 1, tzinfo=UTC)


def study(**changes: Any) -> Study:
    """Two recipes on blood pressure, three tuning trials, two seeds."""
    tree: dict[str, Any] = {
        "study": "tiny",
        "workloads": ["nhanes-sbp"],
        "recipes": {"also": ["l1", "l1 + lds"]},
        "tune": {"trials": 3, "parallel": 2},
        "evaluate": {"seeds": 2},
        "train": {"epochs": 2},
    }
    return Study.of({**tree, **changes})


def cell(recipe: str = "l1 + lds", **changes: Any) -> Cell:
    """A cell of `study`."""
    from orchestrator.study.cells import expand

    wanted = str(Recipe.parse(recipe))
    return next(c for c in expand(study(recipes={"also": [recipe]}, **changes)) if str(c.recipe) == wanted)


def score(value: float | None, region: str = "all", metric: str = "mae", count: int = 10) -> ScoreRow:
    """One score."""
    return ScoreRow(metric, region, value, count)


def record(trial: Trial, value: float, status: Status = "completed", **changes: Any) -> Record:
    """The record of a trial whose scores are all `value`."""
    done = 0 if status == "failed" else trial.epochs
    scores = () if status == "failed" else (score(value), score(value * 2, "few"))
    fields: dict[str, Any] = {
        "trial_id": trial.id,
        "study": "tiny",
        "workload": trial.cell.workload,
        "data": trial.cell.data,
        "recipe": str(trial.cell.recipe),
        "settings": trial.settings,
        "seed": trial.seed,
        "number": trial.number,
        "search": trial.search,
        "status": status,
        "epochs": trial.epochs,
        "epochs_run": done,
        "kept_epoch": done - 1 if done else None,
        "val": scores,
        "test": scores if trial.phase == "evaluate" else None,
        "curve": tuple(CurveRow(e, 0, value, scores) for e in range(done)),
        "started": START,
        "finished": START + timedelta(seconds=1),
        "wall_s": 1.0,
        "device": "cpu",
        "host": "here",
        "versions": {"torch": "2"},
        "error": "Diverged: the training loss became nan" if status == "failed" else None,
    }
    return Record(**{**fields, **changes})
