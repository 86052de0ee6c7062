"""Labels that are maps, from a study to its tables."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from builders import study
from orchestrator import Ledger
from orchestrator.engine.packs import run
from orchestrator.engine.trial import Job
from orchestrator.report.scores import scores
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from running import HUNG_S
from workloads import WORKLOADS
from workloads.labels import REGIONS


def test_a_trial_keeps_the_predictions_of_the_scored_pixels_and_differences_draw_images(tmp_path: Path) -> None:
    made = study(
        workloads=["stereo-depth"],
        recipes={"objectives": ["l1"], "combine": [], "also": ["l1 + lds"]},
        tune={"trials": 1},
        evaluate={"seeds": 1},
        train={"epochs": 1},
        storage=str(tmp_path),
    )
    ledger = Ledger(str(tmp_path))
    cells = expand(made)
    for cell in cells:
        for phase in ("tune", "evaluate"):
            list(run(Job.of(cell.trial(phase, 0, {}), 0, made, str(tmp_path))))
    workload = WORKLOADS["stereo-depth"]
    data = workload.load(None)
    where = workload.regions(data, data.test)
    for row in ledger.read("evaluate").to_pylist():
        assert row["status"] == "completed"
        kept = ledger.predictions(row["trial_id"])
        assert torch.equal(torch.from_numpy(kept["y"].to_numpy().copy()), data.test.y)
        errors = np.abs(kept["pred"].to_numpy().astype(np.float64) - kept["y"].to_numpy())
        told = {s["region"]: (s["value"], s["count"]) for s in row["test"] if s["metric"] == "mae"}
        assert told["all"] == (pytest.approx(errors.mean()), len(errors))
        assert told["zero"] == (None, 0)
        for place, region in enumerate(REGIONS[:3]):
            assert told[region] == (pytest.approx(errors[where == place].mean()), int((where == place).sum()))
    planner = Planner(made, cells, ledger.find)
    found = scores(planner.plans, ledger, data)
    assert {"all", "many", "medium", "few"} == set(found)
    assert found["all"].units.independent == data.test.rows
    assert set(found["all"].sums["mae"]) == {"l1", "l1 + lds"}


@pytest.mark.long
def test_the_shipped_study_runs_from_the_command_line(tmp_path: Path) -> None:
    shrunk = ["tune.trials=1", "evaluate.seeds=2", "train.epochs=2", "tracking.enabled=false"]
    args = ["sweep", "stereo", "--storage", str(tmp_path), *(word for item in shrunk for word in ("--set", item))]
    command = [sys.executable, "-m", "orchestrator.cli", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HUNG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    table = (tmp_path / "stereo" / "table.md").read_text("utf-8")
    assert "Test pixels: all " in table
    assert "over paired seeds and test images" in table
    assert len((tmp_path / "stereo" / "table.csv").read_text("utf-8").splitlines()) == 1 + 9
