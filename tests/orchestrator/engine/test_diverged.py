"""A trial whose scores are not finite is a failed trial, and no such number reaches what is kept or shown."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mlflow
import pyarrow as pa
import pytest
import yaml

from builders import record, study
from orchestrator.cli.main import main
from orchestrator.engine.packs import run
from orchestrator.engine.trial import Job
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.parquet import to_parquet
from orchestrator.report.outputs import write_outputs
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from orchestrator.tracking.mlflow import Projection, tracking_uri

DIVERGES: dict[str, Any] = {
    "recipes": {"also": ["mse"]},
    "tune": {"trials": 3, "sampler": "tpe", "rescore": 1},
    "space": {"train.lr": {"low": 0.99, "high": 1.0}},
    "train": {"epochs": 3, "optimizer": "sgd", "batch_size": 65536, "keep": "last"},
}
"""A loss that is finite until the last batch, after which predictions are not."""
TEXTS = {".md", ".csv", ".json", ".tex", ".yaml", ".html"}


def numbers(value: object) -> Iterator[float]:
    """All floats in a tree."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers(inner)


def assert_only_finite(planner: Planner, written: Mapping[str, str]) -> None:
    """Neither in the records nor in the texts of a report, by their names."""
    for phase in ("tune", "evaluate"):
        for plan in planner.plans:
            for kept in plan.records(phase):
                assert all(map(math.isfinite, numbers(kept.to_arrow(phase).to_pylist())))
    for name, text in written.items():
        shown = "\n".join(line for line in text.splitlines() if "Diverged" not in line)  # which names the number
        assert not re.search(r"[^a-z](nan|inf)[^a-z]", shown.lower()), name


def projected(made: Study, planner: Planner, ledger: Ledger) -> list[float]:
    """Every metric of every run in a real MLflow."""
    Projection(made, ledger).update(planner.plans)
    client = mlflow.MlflowClient(tracking_uri(made))
    experiment = client.get_experiment_by_name(made.study)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert found
    return [
        point.value
        for one in found
        for name in one.data.metrics
        for point in client.get_metric_history(one.info.run_id, name)
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_trial_with_predictions_that_are_not_finite_has_failed_and_the_others_go_on(tmp_path: Path) -> None:
    made, ledger = study(storage=str(tmp_path), **DIVERGES), Ledger(str(tmp_path))
    planner = Planner(made, expand(made), ledger.find)
    while (trial := planner.next()) is not None:
        for _ in run(Job.of(trial, 0, made, str(tmp_path))):
            pass
        found = ledger.find(trial.id, trial.phase)
        assert found is not None
        planner.finish(trial, found)  # the next suggestion is Optuna's, who is told of it
    first = planner.plans[0].records("tune")[0]
    assert first.status == "failed"
    assert "Diverged" in (first.error or "")
    assert "predictions on validation in epoch 1 are not finite" in (first.error or "")
    assert math.isfinite(first.curve[0].loss)
    assert len(planner.plans[0].records("tune")) == 3
    assert_only_finite(planner, write_outputs(made, planner, ledger))
    assert all(map(math.isfinite, projected(made, planner, ledger)))


def test_a_storage_of_before_with_completed_trials_of_nan_and_infinity_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {("tune", 0): math.nan, ("evaluate", 1): math.inf}
    made, ledger = study(storage=str(tmp_path), tune={"trials": 2}, recipes={"also": ["l1"]}), Ledger(str(tmp_path))
    planner = Planner(made, expand(made), ledger.find)
    while (trial := planner.next()) is not None:
        kept = record(trial, 4.0 + trial.number)
        ledger.commit(kept, trial.phase)
        value = values.get((trial.phase, trial.number))
        if value is not None:
            (row,) = kept.to_arrow(trial.phase).to_pylist()
            for scores in (row["val"], row.get("test") or [], row["curve"][-1]["val"]):
                for score in scores:
                    score["value"] = value
            table = pa.Table.from_pylist([row], schema=kept.to_arrow(trial.phase).schema)
            ledger.store.put(f"ledger/{trial.phase}/{trial.id}.0.parquet", to_parquet(table))
        found = Ledger(str(tmp_path)).find(trial.id, trial.phase)
        assert found is not None
        assert (found.status == "failed") == (value is not None)
        planner.finish(trial, found)
    assert [r.error for r in planner.plans[0].failures()] == [
        "Diverged: val/mae/all became nan",
        "Diverged: val/mae/all became inf",
    ]
    again = Planner(made, expand(made), Ledger(str(tmp_path)).find)
    assert again.done
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(made.model_dump(mode="json", exclude_unset=True)), "utf-8")
    for command, code in (("plan", 0), ("status", 3), ("report", 3)):
        assert main([command, str(file), "--storage", str(tmp_path)]) == code
        said = "".join(capsys.readouterr())
        assert "Traceback" not in said
        assert "nan [" not in said
    texts = {path.name: path.read_text("utf-8") for path in (tmp_path / "tiny").iterdir() if path.suffix in TEXTS}
    assert texts.keys() >= {"table.md", "table.csv", "tidy.json", "report.html"}
    assert_only_finite(again, texts)
