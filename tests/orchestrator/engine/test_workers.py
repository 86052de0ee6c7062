"""Workers of real sweeps: what they are given, and that worn ones are replaced without losing a trial."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import Ledger
from running import HUNG_S, results, tailsweep, write

TWO = """
study: two
workloads: [nhanes-sbp, nhanes-bmi]
recipes: {also: [l1]}
tune: {trials: 2, parallel: 2, rescore: 1}
evaluate: {seeds: 2}
train: {epochs: 1}
resources: {cpus: 0.25, gpus: 0.5, accelerator_type: H100, of: {nhanes-bmi: {gpus: 0.25}}}
tracking: {enabled: false}
"""


@pytest.mark.long
def test_workloads_are_given_what_is_theirs_on_nodes_of_the_accelerator_that_is_asked_for(tmp_path: Path) -> None:
    script = f"""
from clusters.profile import Profile
from orchestrator import Study, sweep
from orchestrator.engine import trial
study = Study.load({str(write(tmp_path, TWO))!r}, ["storage={tmp_path / "results"}"])
start = {{"num_cpus": 2, "num_gpus": 2, "include_dashboard": False, "log_to_driver": False}}
there = {{**start, "resources": {{"accelerator_type:H100": 1}}}}
assert sweep(study, Profile(name="two", start=there)).failed == 0
from orchestrator.errors import BadInput
again = study.model_copy(update={{"storage": "{tmp_path / "other"}"}})
try:
    sweep(again, Profile(name="none", start=start))
except BadInput as err:
    assert "it asks for 0.25 CPUs and 0.5 GPUs of type H100" in str(err), err
else:
    raise AssertionError("there is no H100")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=HUNG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = Ledger(str(tmp_path / "results")).read("evaluate").to_pylist()
    assert {row["workload"] for row in rows} == {"nhanes-sbp", "nhanes-bmi"}
    assert all("torch finds none on this node" in row["log"] for row in rows), "declared GPUs are none"


@pytest.mark.long
def test_workers_that_are_replaced_after_a_few_trials_lose_nothing(tmp_path: Path) -> None:
    path = write(tmp_path)
    tailsweep("sweep", path, "--storage", tmp_path / "kept")
    tailsweep("sweep", path, "--storage", tmp_path / "replaced", "--set", "resources.recycle_after=5")
    assert results(tmp_path / "replaced") == results(tmp_path / "kept")


@pytest.mark.long
def test_driver_and_worker_hold_what_they_held_before_after_hundreds_of_trials() -> None:
    tests = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tests.parent), str(tests)))}
    args = [sys.executable, "-m", "bench.memory", "--trials", "200"]
    done = subprocess.run(args, capture_output=True, text=True, timeout=HUNG_S, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
