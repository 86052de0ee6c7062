"""Submitting to the Jobs API of Ray: what is refused, and whole studies on a real cluster with a dashboard."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builders import study
from clusters.profile import profile
from clusters.submission import Submission, target
from orchestrator.errors import BadInput, ClusterFailed
from running import HUNG_S, STUDY, results, tailsweep, write


def made(*overrides: str, storage: str = "/results", **changes: object) -> Submission:
    chosen = profile("ray-jobs", ["address=http://127.0.0.1:1", *overrides])
    return Submission(study(**changes), chosen, storage, 2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("address=null", "address is that of a Ray dashboard, .*: got None"),
        ("address=127.0.0.1:8265", "http://HOST:8265: got '127.0.0.1:8265'"),
        ("shards=2", "one Ray cluster takes one driver of a study: got 2 shards"),
        ("image=python:3.11", "image_uri"),
        ("secrets.A=env:B", "env:A: got 'env:B'"),
        ("address=http://far:8265", "must reach the storage: got the folder /results"),
        ("options.runtime_env.working_dir=here", "options.ship=false"),
        ("options.shipp=true", "known: ship,"),
    ],
)
def test_what_a_cluster_cannot_run_is_refused(override: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        target(made(override), {})


def test_a_shared_folder_may_be_named() -> None:
    target(made("address=http://far:8265", "options.shared_folder=true"), {})
    target(made("address=http://far:8265", storage="s3://bucket/prefix"), {})


def test_the_preview_names_the_driver_what_is_shipped_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    text = target(made("environment.A=b", "secrets.TOKEN=env:TOKEN"), {}).preview()
    request = json.loads(text)
    assert "hunter2" not in text
    assert request["entrypoint"].startswith(': "${TOKEN:?must be set on the nodes}"; python -m orchestrator.cli sweep ')
    assert request["runtime_env"]["env_vars"]["A"] == "b"
    assert request["runtime_env"]["env_vars"]["PYTHONSAFEPATH"] == "1", "the head's current folder is nobody's to trust"
    shipped = request["runtime_env"]["working_dir"]
    assert re.fullmatch(r"<a folder with clusters, orchestrator, tailsweep-\S+\.dist-info, workloads>", shipped)
    assert "working_dir" not in json.loads(target(made("options.ship=false"), {}).preview())["runtime_env"]


@pytest.mark.parametrize(("driver", "report", "code"), [(0, 0, 0), (3, 0, 3), (0, 4, 4), (2, 0, 2), (3, 4, 3)])
def test_the_exit_code_is_that_of_the_driver_or_else_of_the_report(
    driver: int, report: int, code: int, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$3" >>{tmp_path}/said\n[ "$3" = sweep ] && exit {driver} || exit {report}\n')
    python.chmod(0o755)
    request = json.loads(target(made(f"options.python={python}"), {}).preview())
    assert subprocess.run(request["entrypoint"], shell=True, check=False).returncode == code
    said = (tmp_path / "said").read_text().split()
    assert said == (["sweep"] if driver == 2 else ["sweep", "report"])


def test_another_address_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://elsewhere:8265")
    with pytest.raises(BadInput, match="unset RAY_ADDRESS"):
        target(made(), {}).submit()


def test_a_dashboard_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ClusterFailed, match=r"the Ray dashboard at http://127.0.0.1:1 must answer: .*RAY_AUTH_MODE"):
        target(made(), {}).submit()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def dashboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a Ray cluster that knows nothing of this code, and asks for a token."""
    folder = Path(tempfile.mkdtemp(prefix="ts-", dir="/tmp"))  # short: it holds sockets
    token = folder / "token"
    token.write_text("f" * 64)
    token.chmod(0o600)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    port = free_port()
    parts = {
        "--port": free_port(),
        "--node-ip-address": "127.0.0.1",
        "--dashboard-host": "127.0.0.1",
        "--dashboard-port": port,
        "--dashboard-agent-listen-port": free_port(),
        "--temp-dir": folder / "ray",
        "--num-cpus": 2,
        "--object-store-memory": 134217728,
        "--min-worker-port": 0,
        "--max-worker-port": 0,
    }
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--include-dashboard=true"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (folder / "log").open("w") as log:
        head = subprocess.Popen(
            [*start, *(f"{name}={value}" for name, value in parts.items())],
            cwd="/",
            env={**environment, "RAY_USAGE_STATS_ENABLED": "0"},
            stdout=log,
            stderr=log,
        )
    until(lambda: head.poll() is None and listens(port))
    yield f"http://127.0.0.1:{port}"
    head.terminate()
    head.wait(60)
    shutil.rmtree(folder)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(holds: Callable[[], object], seconds: float = HUNG_S) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def jobs(dashboard: str) -> list[str]:
    """What was submitted; asked by a process of its own, for Ray reads at import whether tokens are on."""
    asked = (
        "from ray.job_submission import JobSubmissionClient as C; "
        f"print(*(job.submission_id for job in C({dashboard!r}).list_jobs() if job.submission_id))"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    return done.stdout.split()


DOCUMENT = Path(__file__).parents[3] / "docs" / "new-method.md"


@pytest.mark.slow
def test_a_study_runs_on_a_cluster_that_has_only_its_dependencies(
    tmp_path: Path, dashboard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin, *_ = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), flags=re.DOTALL)
    (tmp_path / "spread.py").write_text(plugin, "utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    file = write(tmp_path, STUDY.replace("l1 + lds", "l1 + spread") + "plugins: [spread]\n")
    where = ("--cluster", "ray-jobs", "--cluster-set", f"address={dashboard}")
    there = (*where, "--cluster-set", f"options.python={sys.executable}", "--storage", tmp_path / "results")
    assert "in 1 shards, sent" in tailsweep("submit", file, *there)
    assert "under way already" in tailsweep("submit", file, *there)
    (tmp_path / "results/tiny/submissions/ray-jobs.json").unlink()
    name = tailsweep("submit", file, *there).split(":")[0]  # the ticket was lost, the cluster knows the job
    assert jobs(dashboard) == [name]
    said = tailsweep("logs", file, *there, "--follow")
    assert "14/14 trials" in said
    assert "ended" in tailsweep("status", file, *there)
    tailsweep("sweep", file, "--storage", tmp_path / "whole")
    assert results(tmp_path / "results") == results(tmp_path / "whole")


@pytest.mark.long
def test_a_cancelled_job_leaves_checkpoints_and_is_sent_again_as_another_one(tmp_path: Path, dashboard: str) -> None:
    file = write(tmp_path, STUDY.replace("epochs: 4", "epochs: 4000") + "checkpoint_every_s: 3600\n")
    where = ("--cluster", "ray-jobs", "--cluster-set", f"address={dashboard}", "--storage", tmp_path / "results")
    there = (*where, "--cluster-set", f"options.python={sys.executable}")
    tailsweep("submit", file, *there)
    # A trial that has not trained has nothing to save.
    until(lambda: re.search(r"running \([1-9]\d*/\d+ epochs\)", tailsweep("logs", file, *there)))
    tailsweep("cancel", file, *there)
    until(lambda: "stopped" in tailsweep("status", file, *there))
    assert list((tmp_path / "results/checkpoints").glob("*.pt"))
    assert "-2: 2 cells in 1 shards, sent" in tailsweep("submit", file, *there)
    tailsweep("cancel", file, *there)
