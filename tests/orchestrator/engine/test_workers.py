"""Workers of real sweeps: what they are given, and that worn ones are replaced without losing a trial."""

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_workers_that_are_replaced_after_every_second_trial_lose_nothing(tmp_path: Path) -> None:
    path = write(tmp_path)
    tailsweep("sweep", path, "--storage", tmp_path / "kept")
    tailsweep("sweep", path, "--storage", tmp_path / "replaced", "--set", "resources.recycle_after=2")
    assert results(tmp_path / "replaced") == results(tmp_path / "kept")


GROWTH = """
import sys
from clusters.profile import Profile
from orchestrator import Study
from orchestrator.api import outcome
from orchestrator.engine.memory import resident_mb
from orchestrator.engine.tune import sweep

held = []

class Holding:
    def __getattr__(self, name):
        return lambda *args: None

    def finished(self, trial, record):
        held.append((resident_mb(), record.memory_mb))

study = Study.load(sys.argv[1], [f"storage={sys.argv[2]}"])
found = outcome(study)
start = {"num_cpus": 1, "include_dashboard": False, "log_to_driver": False}
sweep(study, found.planner, found.ledger, Profile(name="one", start=start), Holding())
early, late = held[len(held) // 4], held[-1]
print(len(held), early, late)
assert late[0] <= 1.05 * early[0], f"driver: {early[0]:.0f} to {late[0]:.0f} MB"
assert late[1] <= 1.05 * early[1], f"worker: {early[1]:.0f} to {late[1]:.0f} MB"
"""
TRIALS = {
    "trials: 3": "trials: 150",
    "[l1 + lds, l1 + fds + ranksim]": "[l1, l1 + lds]",
    "epochs: 4": "epochs: 1",
    "parallel: 2": "parallel: 1, sampler: random",
}


@pytest.mark.slow
def test_driver_and_worker_hold_what_they_held_before_after_hundreds_of_trials(tmp_path: Path) -> None:
    from running import STUDY

    text = STUDY
    for old, new in TRIALS.items():
        text = text.replace(old, new)
    args = [sys.executable, "-c", GROWTH, str(write(tmp_path, text)), str(tmp_path / "results")]
    done = subprocess.run(args, capture_output=True, text=True, timeout=HUNG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
