"""A study whose results are kept in S3, on a real Ray, through the command line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from in_process import trained_here
from orchestrator.ledger.ledger import Ledger
from orchestrator.storage.store import open_store
from running import HUNG_S, STUDY, write
from s3_server import at_random, before, bucket

pytestmark = pytest.mark.slow

TEXT = STUDY.replace("tracking: {enabled: false}", "checkpoint_every_s: 0")  # here MLflow follows
QUIET = {"TAILSWEEP_TRACKING__ENABLED": "false"}


def command(folder: Path, *args: str) -> list[str]:
    write(folder, TEXT)
    return [sys.executable, "-m", "orchestrator.cli", args[0], "study.yaml", *args[1:]]


def tailsweep(folder: Path, *args: str, **environment: str) -> str:
    done = subprocess.run(
        command(folder, *args),
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_study_in_s3_that_is_killed_continues_to_the_table_of_a_local_one(s3: str, tmp_path: Path) -> None:
    trained_here(write(tmp_path, TEXT), tmp_path / "here")
    with before(s3) as (address, faults):
        storage = bucket(s3, address)
        store = open_store(storage)
        process = subprocess.Popen(
            command(tmp_path, "sweep", "--storage", storage),
            cwd=tmp_path,
            env={**os.environ, **QUIET},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + HUNG_S
        while time.monotonic() < deadline and process.poll() is None:
            if len(store.keys("ledger/tune/")) >= 2:
                break
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = store.keys("ledger/")
        assert 2 <= len(kept) < 14, "it was killed in time"
        faults.choose = at_random(0.05, "slow down", "reset before", "reset after", "bad gateway after", "expired")
        said = tailsweep(tmp_path, "sweep", "--storage", storage)
        assert faults.met
        faults.choose = lambda request: None
        assert f"Written: {store.locate('tiny/table.md')}" in said
        for name in ("table.md", "table.csv", "table.tex"):
            assert store.get(f"tiny/{name}") == (tmp_path / "here" / "tiny" / name).read_bytes()
        assert (store.get("tiny/report.html") or b"").count(b"<svg") >= 2
        assert store.keys("checkpoints/") == []
        columns = ["trial_id", "settings", "val", "test"]
        local, remote = (Ledger(uri).read(columns=columns) for uri in (str(tmp_path / "here"), storage))
        assert remote.equals(local)
        for record in Ledger(storage).read("evaluate").to_pylist():
            assert len(Ledger(storage).predictions(record["trial_id"]))
        said = tailsweep(tmp_path, "track", "--storage", storage)
        assert said == f"0 trials sent to sqlite:///{tmp_path}/results/mlflow.db\n", "the sweep's follower sent them"
        assert "14/14 trials in the ledger, 0 failed" in tailsweep(tmp_path, "status", "--storage", storage)
        before_report = store.get("tiny/table.csv")
        store.delete("tiny/table.csv")
        tailsweep(tmp_path, "report", "--storage", storage)
        assert store.get("tiny/table.csv") == before_report
