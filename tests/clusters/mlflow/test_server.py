"""MLflow on PostgreSQL and S3, as `make mlflow` starts it: what it refuses, and that it loses nothing when killed."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import mlflow
import psutil
import psycopg2
import pytest

from clusters.mlflow.server import main
from orchestrator.api import outcome
from orchestrator.ledger.records import Record
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from orchestrator.tracking.mlflow import KIND, NAME
from running import HUNG_S, slay, tailsweep
from s3_server import bucket, free_port
from swept import made_up, sweep
from workloads.recipe import Recipe
from workloads.training import active

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
PASSWORD, KEY = "a-password-that-nobody-sees", "an-s3-key-that-nobody-sees"
AUTH = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
needs_postgres = pytest.mark.skipif(shutil.which("initdb") is None, reason="no PostgreSQL on the PATH")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another user can enter: PostgreSQL does not run as root."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def command(folder: Path, port: int, *options: str) -> list[str]:
    return [sys.executable, "-m", "clusters.mlflow.server", str(folder), "--port", str(port), *options]


def refused(capfd: pytest.CaptureFixture[str], folder: Path, *options: str) -> str:
    """The one line of a server that does not start."""
    assert main([str(folder), *options]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("tailsweep: ")
    return line


def test_a_password_that_is_missing_or_short_is_refused_before_anything_is_made(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_AUTH_ADMIN_PASSWORD", raising=False)
    for _ in range(2):
        line = refused(capfd, tmp_path / "server", "--basic-auth")
        assert "MLFLOW_AUTH_ADMIN_PASSWORD must hold a password of 12 characters or more" in line
        assert "short-one" not in line
        monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", "short-one")
    assert not (tmp_path / "server").exists()


def test_a_port_that_is_taken_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} must be free" in refused(capfd, tmp_path, "--port", str(port))


def test_artifacts_that_cannot_be_reached_are_refused(
    tmp_path: Path, s3: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", "s3://no-such-bucket/x")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", s3)
    line = refused(capfd, tmp_path, "--port", str(free_port()))
    assert "must be reachable and readable" in line and "no-such-bucket" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a folder that PostgreSQL's user cannot enter")
@needs_postgres
def test_a_folder_that_postgres_cannot_enter_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "own").mkdir(mode=0o700)
    line = refused(capfd, folder / "own" / "server", "--port", str(free_port()))
    assert "PostgreSQL does not run as root" in line and "FOLDER=" in line


@contextlib.contextmanager
def served(folder: Path, port: int, said: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers; what it says is appended to a file."""
    with said.open("ab") as stream:
        process = subprocess.Popen(
            command(folder, port, "--basic-auth"), stdout=stream, stderr=stream, env={**os.environ, **environment}
        )
    try:
        deadline, ready = time.monotonic() + HUNG_S, said.read_bytes().count(b"MLflow: http") + 1
        while said.read_bytes().count(b"MLflow: http") < ready:
            assert process.poll() is None and time.monotonic() < deadline, said.read_text("utf-8")
            time.sleep(0.2)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(HUNG_S)


def kill(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the server, to MLflow, and to its database."""
    family = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    postmaster = (folder / "postgres" / "postmaster.pid").read_text().split()[0]
    for pid in (process.pid, *family, int(postmaster)):
        slay(pid)
    process.wait(HUNG_S)


def asked(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """What the database itself holds."""
    sockets = (folder / "postgres" / "postmaster.pid").read_text().splitlines()[4]
    with contextlib.closing(psycopg2.connect(host=sockets, dbname="postgres")) as open_, open_.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def numbers(record: Record) -> set[tuple[str, int, float]]:
    """Name, step and value of every number of a trial."""
    took = {"wall_s": record.wall_s, "system/memory_megabytes": record.memory_mb}
    found = {(name, 0, value) for name, value in took.items() if value is not None}
    for row in record.curve:
        found.add(("train/loss", row.epoch, row.loss))
        found |= {(f"epoch/val/{s.metric}/{s.region}", row.epoch, s.value) for s in row.val if s.value is not None}
    for split, scores in (("val", record.val), ("test", record.test or ())):
        kept = record.kept_epoch or 0
        found |= {(f"{split}/{s.metric}/{s.region}", kept, s.value) for s in scores if s.value is not None}
    return found


def compare(folder: Path, study: Study) -> None:
    """Every number and setting of every trial in MLflow is that of the ledger, and none is there twice."""
    ledger = outcome(study, write=False).ledger
    plans = Planner(study, expand(study), ledger.find).plans
    records = {
        f"{record.trial_id}.{record.attempt}": record
        for plan in plans
        for phase in ("tune", "evaluate")
        for record in plan.records(phase)  # type: ignore[arg-type]
    }
    client = mlflow.MlflowClient(study.tracking.uri)
    experiment = client.get_experiment_by_name(study.study)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], f"tags.`{KIND}` = 'trial'", max_results=5000)
    assert sorted(run.data.tags[NAME] for run in runs) == sorted(records)
    sent: dict[str, list[tuple[str, int, float]]] = {}
    for run_id, *number in asked(folder, "SELECT run_uuid, key, step, value FROM metrics"):
        sent.setdefault(run_id, []).append(tuple(number))  # type: ignore[arg-type]
    for run in runs:
        record = records[run.data.tags[NAME]]
        assert sorted(sent[run.info.run_id]) == sorted(numbers(record))
        settings = {**active(Recipe.parse(record.recipe), record.settings), "seed": record.seed}
        assert run.data.params == {**{k: str(v) for k, v in settings.items()}, "epochs": str(record.epochs)}


@pytest.mark.slow
@needs_postgres
def test_a_server_that_is_killed_while_it_is_sent_a_study_has_all_of_it_in_the_end_and_tells_no_password(
    folder: Path, tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    port, said = free_port(), tmp_path / "said.log"
    address, artifacts = f"http://127.0.0.1:{port}", bucket(s3).partition("?")[0]
    server = {
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
        "MLFLOW_S3_ENDPOINT_URL": s3,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
    }
    for name, value in AUTH.items():
        monkeypatch.setenv(name, value)
    few = {"recipes": {"also": ["l1 + lds"]}, "tune": {"trials": 2, "rescore": 1}, "evaluate": {"seeds": 2}}
    study = made_up(tmp_path / "own", tracking={"uri": address}, **few)
    sweep(study)
    written = tmp_path / "study.json"
    written.write_text(study.model_dump_json(), "utf-8")
    told = tailsweep("report", written)

    with served(folder, port, said, server) as process:
        told += tailsweep("track", written, code=3, MLFLOW_TRACKING_PASSWORD="another-password")
        assert "401" in told
        assert "a folder has one server at a time" in refused(capfd, folder, "--port", str(free_port()))
        with subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli", "track", str(written)], stdout=-1, stderr=-2, text=True
        ) as tracker:
            deadline = time.monotonic() + HUNG_S
            query = f"SELECT count(*) FROM tags WHERE key = '{KIND}' AND value = 'trial'"
            while asked(folder, query)[0][0] < 4:
                assert tracker.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
            kill(folder, process)
            output, _ = tracker.communicate(timeout=HUNG_S)
        assert tracker.returncode == 3
        assert "`tailsweep track` completes it" in output
        told += output

    with served(folder, port, said, server) as process:
        assert asked(folder, query)[0][0] >= 4, "what was sent is still there"
        told += tailsweep("track", written)
        compare(folder, study)
        told += (again := tailsweep("track", written))
        assert "0 trials sent" in again
        compare(folder, study)
        process.send_signal(signal.SIGINT)  # Ctrl-C
        assert process.wait(HUNG_S) == 0
    assert not (folder / "postgres" / "postmaster.pid").exists()

    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1")
    name, _, prefix = artifacts.removeprefix("s3://").partition("/")
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=name, Prefix=prefix)["Contents"]]
    (table,) = [key for key in keys if key.endswith("/artifacts/table.md")]
    there = client.get_object(Bucket=name, Key=table)["Body"].read()
    assert there == (Path(study.storage) / study.study / "table.md").read_bytes()
    assert json.loads(written.read_text("utf-8"))["tracking"]["uri"] == address
    everything = told + said.read_text("utf-8") + (folder / "postgres.log").read_text("utf-8")
    assert PASSWORD not in everything and KEY not in everything and "another-password" not in everything
