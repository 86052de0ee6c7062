"""Successive halving on a real Ray: the same decisions with any number of workers, and through kills."""

import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from orchestrator import Ledger
from running import HUNG_S, command, results, tailsweep, write

STUDY = """
study: tiny
workloads: [nhanes-sbp]
recipes: {also: [l1 + rrt]}
tune: {trials: 8, scheduler: halving, population: 4, rescore: 2, rescore_seeds: 1}
evaluate: {seeds: 1}
train: {epochs: 8}
tracking: {enabled: false}
"""
SEARCH = Counter({("stopped", 2): 4, ("stopped", 4): 2, ("completed", 8): 2 + 2})
"""Two populations of four, and two that rescore."""
pytestmark = pytest.mark.slow


def waiting(storage: Path, records: int) -> bool:
    """Whether so many records are there, and trials that wait."""
    there = len(list((storage / "ledger").glob("[te]*/*.parquet")))
    return there >= records and bool(list((storage / "checkpoints").glob("*.pt")))


def same(storage: Path, other: Path) -> bool:
    """Whether two sweeps decided alike: all records, and the table to the byte."""
    tables = [(place / "tiny" / "table.md").read_bytes() for place in (storage, other)]
    return results(storage) == results(other) and tables[0] == tables[1]


def test_a_killed_sweep_of_two_workers_with_packs_decides_as_an_undisturbed_one_of_one_does(tmp_path: Path) -> None:
    path, alone, storage = write(tmp_path, STUDY), tmp_path / "alone", tmp_path / "results"
    plan = tailsweep("plan", path, "--storage", storage)
    assert "early stopping by halving: 4 trials at a time are compared after 2 and 4 of 8 epochs, one in 2" in plan
    tailsweep("sweep", path, "--storage", alone, "--set", "resources.concurrent=1")
    rows = Ledger(str(alone)).read("tune").to_pylist()
    assert Counter((row["status"], row["epochs_run"]) for row in rows) == SEARCH
    assert sum(row["epochs_run"] for row in rows) == 8 * 8 // 2 + 2 * 8, "without early stopping it were 80"
    assert not list((alone / "checkpoints").glob("*"))
    args = ("sweep", path, "--storage", storage, "--set", "checkpoint_every_s=0", "--set", "resources.concurrent=2")
    args = (*args, "--set", "resources.pack=auto")
    process = subprocess.Popen(command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + HUNG_S
    while time.monotonic() < deadline and process.poll() is None and not waiting(storage, 5):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert waiting(storage, 5), "it was killed in time"
    tailsweep(*args)
    assert same(storage, alone)
