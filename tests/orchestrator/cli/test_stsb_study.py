"""The shipped study of STS-B-DIR on the real files, through the command line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import Ledger
from published import find
from running import HUNG_S


@pytest.mark.long
def test_the_study_of_sts_b_runs_on_the_real_files(tmp_path: Path) -> None:
    root = find("sts-b-dir/train_new.tsv").parents[1]
    shrunk = ["tune.trials=1", "evaluate.seeds=1", "train.epochs=3", "tracking.enabled=false"]
    args = ["sweep", "stsb", "--storage", str(tmp_path), *(word for item in shrunk for word in ("--set", item))]
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", *args],
        capture_output=True,
        text=True,
        timeout=HUNG_S,
        env={**os.environ, "TAILSWEEP_DATA": str(root)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = (tmp_path / "stsb" / "table.csv").read_text().splitlines()
    assert len(rows) == 7
    assert all(f"{metric}/all/mean" in rows[0] for metric in ("mse", "mae", "gm", "pearson", "spearman"))
    scores = {row["recipe"]: row["test"] for row in Ledger(str(tmp_path)).read("evaluate").to_pylist()}
    counts = {(row["region"], row["count"]) for row in scores["mse"] if row["metric"] == "mse"}
    assert {("all", 1000), ("many", 756), ("medium", 170), ("few", 74)} <= counts
    # The training mean has an MSE of 2.16 on these pairs.
    assert all(
        row["value"] < 1.5
        for test in scores.values()
        for row in test
        if row["metric"] == "mse" and row["region"] == "all"
    )
