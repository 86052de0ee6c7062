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
recipes: {also: [l1 + lds, l1 + rrt]}
tune: {trials: 8, scheduler: halving, population: 4, rescore: 2, rescore_seeds: 1}
evaluate: {seeds: 1}
train: {epochs: 8}
tracking: {enabled: false}
"""
OF_A_CELL = Counter({("stopped", 2): 4, ("stopped", 4): 2, ("completed", 8): 2 + 2})
"""Two populations of four and two that rescore."""


def searched(storage: Path) -> list[tuple[str, int, str]]:
    rows = Ledger(str(storage)).read("tune").to_pylist()
    return [(row["status"], row["epochs_run"], row["recipe"]) for row in rows]


def waiting(storage: Path, records: int) -> bool:
    """Whether so many records are there, and trials that wait."""
    there = len(list((storage / "ledger").glob("[te]*/*.parquet")))
    return there >= records and bool(list((storage / "checkpoints").glob("*.pt")))


@pytest.mark.slow
def test_halving_decides_alike_with_one_worker_with_two_and_when_it_is_killed(tmp_path: Path) -> None:
    path, storages = write(tmp_path, STUDY), {name: tmp_path / name for name in ("one", "two", "killed")}
    plan = tailsweep("plan", path, "--storage", storages["one"])
    assert "early stopping by halving: 4 trials at a time are compared after 2 and 4 of 8 epochs, one in 2" in plan
    for workers, name in ((1, "one"), (2, "two")):
        tailsweep("sweep", path, "--storage", storages[name], "--set", f"resources.concurrent={workers}")
        for recipe in ("l1 + lds", "l1 + rrt"):
            assert Counter(row[:2] for row in searched(storages[name]) if row[2] == recipe) == OF_A_CELL
        assert not list((storages[name] / "checkpoints").glob("*")), "no trial waits any more"
    args = ("sweep", path, "--storage", storages["killed"], "--set", "checkpoint_every_s=0")
    for records in (0, 9):
        process = subprocess.Popen(command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + HUNG_S
        while time.monotonic() < deadline and process.poll() is None and not waiting(storages["killed"], records):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    tailsweep(*args)
    assert results(storages["one"]) == results(storages["two"]) == results(storages["killed"])
    table = (storages["one"] / "tiny" / "table.md").read_bytes()
    assert all((storage / "tiny" / "table.md").read_bytes() == table for storage in storages.values())
    trained = sum(row[1] for row in searched(storages["one"]))
    assert trained == 2 * (4 * 2 + 2 * 4 + 4 * 8) < 2 * (8 + 2) * 8, "of the epochs without early stopping"
