"""Several GPUs for one trial: the numbers of one GPU within rounding, BatchNorm included."""

import subprocess
from pathlib import Path

import pytest
import torch

from orchestrator import Ledger
from running import HUNG_S, command, write

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch finds fewer than two GPUs on this machine")
STUDY = """
study: several
workloads: [{workload}]
recipes: {{also: [{recipe}]}}
tune: {{trials: 1, parallel: 1, rescore: 1}}
evaluate: {{seeds: 2}}
train: {{epochs: 4}}
tracking: {{enabled: false}}
"""


@pytest.mark.parametrize(("workload", "recipe"), [("nhanes-sbp", "mse + fds"), ("digits-lt", "arb")])
def test_a_trial_on_two_gpus_has_the_curve_that_it_has_on_one(workload: str, recipe: str, tmp_path: Path) -> None:
    path, found = write(tmp_path, STUDY.format(workload=workload, recipe=recipe)), []
    for gpus in (1, 2):
        storage = tmp_path / f"on-{gpus}"
        args = command("sweep", path, "--storage", storage, "--set", f"resources.gpus={gpus}")
        done = subprocess.run(args, capture_output=True, text=True, timeout=HUNG_S, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found.append({row["trial_id"]: row for row in Ledger(str(storage)).read("evaluate").to_pylist()})
    one, two = found
    assert one.keys() == two.keys()
    for trial, row in two.items():
        assert "trained by 2 processes" in row["log"]
        expected = [epoch["loss"] for epoch in one[trial]["curve"]]
        assert [epoch["loss"] for epoch in row["curve"]] == pytest.approx(expected, rel=2e-2)
