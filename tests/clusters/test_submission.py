"""Submitting to this machine, with real drivers; the other targets have files of their own."""

import json
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from builders import study
from clusters.profile import Profile
from clusters.submission import Submission, Ticket, find, target
from in_process import told
from orchestrator import Ledger
from orchestrator.cli.submit import follow
from orchestrator.engine.heartbeat import Beat
from orchestrator.ledger.records import now
from orchestrator.storage.store import LocalStore
from running import HUNG_S, STUDY, command, results, tailsweep, write


def made(**changes: object) -> Submission:
    return Submission(study(), Profile.model_validate({"name": "local", "shards": 2, **changes}), "/results", 2)


def test_a_submission_is_known_by_what_is_sent_and_its_name_suits_every_cluster() -> None:
    assert made().name == made().name
    others = [made(steal=True), made(shards=1), made(environment={"A": "b"}), replace(made(), retry_failed=True)]
    assert len({made().name, *(other.name for other in others)}) == 5
    long = Submission(study(study="a.very_long-name" * 5), made().profile, "/results", 2, attempt=12)
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,45}[a-z0-9])", long.name)


def test_drivers_under_a_budget_keep_to_their_own_cells() -> None:
    assert "--steal" in made(steal=True).driver(0) and "--steal" not in made().driver(0)
    poor = replace(made(steal=True), study=study(budget={"trials": 20}))
    assert "--steal" not in poor.driver(0)


def test_no_shard_is_empty() -> None:
    assert made(shards=100).shards == 2


def test_a_dry_run_says_what_would_be_sent_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = tmp_path / "results"
    said = told(capsys, "submit", write(tmp_path), "--storage", storage, "--shards", "2", "--dry-run")
    assert "--shard 0/2" in said
    assert "--shard 1/2" in said
    assert not storage.exists()


def test_drivers_train_failed_trials_again_where_that_is_asked_for() -> None:
    assert "--retry-failed" not in made().driver(0)
    asked = replace(made(), retry_failed=True)
    assert asked.driver(0)[-1] == "--retry-failed"
    kept = Ticket(
        study=asked.study.model_dump(mode="json"),
        **{name: getattr(asked, name) for name in ("profile", "storage", "cells", "attempt", "retry_failed")},
        sent={},
    )
    assert kept.submission.name == asked.name, "it is found again"


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (2, 3)])
def test_whoever_follows_a_submission_hears_of_failed_trials_as_of_a_sweep(
    tmp_path: Path, failed: int, code: int
) -> None:
    store = LocalStore(tmp_path)
    sent = replace(made(shards=1), storage=store.uri)
    ticket = Ticket(
        study=sent.study.model_dump(mode="json"),
        profile=sent.profile,
        storage=store.uri,
        cells=2,
        attempt=1,
        sent={"host": platform.node()},
    )
    name = sent.study.study
    store.put(f"{name}/submissions/local.json", ticket.model_dump_json().encode())
    store.put(f"{name}/drivers/{sent.name}/report.code", b"0\n")
    store.put(f"{name}/table.md", b"# a table")
    beat = Beat(shard=0, shards=1, done=6, failed=failed, running=0, total=6, ended=True, host="h", at=now())
    store.put(f"{name}/shards/00000-of-00001.json", json.dumps(asdict(beat), default=str).encode())
    assert follow(sent.study, store, "local") == code


@pytest.mark.parametrize("args", [["--shards", "2"], ["--dry-run"], ["--cluster-set", "shards=2"]])
def test_a_sweep_by_several_drivers_is_sent(
    args: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dry = [] if "--dry-run" in args else ["--dry-run"]
    said = told(capsys, "sweep", write(tmp_path), "--storage", tmp_path / "results", *args, *dry)
    assert "--shard 0/" in said
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--steal"], "--steal is for one of several drivers: it goes with --shard I/N, or with --shards N"),
        (["--shard", "0/2", "--shards", "2"], "--shard I/N says how many there are"),
        (["--failed-ok", "--shards", "2"], "--shard and --failed-ok are for a driver on this machine"),
        (["--shard", "0/2", "--cluster", "slurm"], "a study is sent to slurm as a whole"),
    ],
)
def test_options_of_a_sweep_that_would_do_nothing_are_refused(
    args: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = tmp_path / "results"
    assert message in told(capsys, "sweep", write(tmp_path), "--storage", storage, *args, code=2)
    assert not storage.exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--cluster-set", "target=moon"], "target is one of .*processes.*got 'moon'"),
        (["--cluster-set", "options.queue=long"], "options.queue: Extra inputs are not permitted"),
        (["--cluster", "ray", "--shards", "2"], "one Ray cluster takes one driver of a study: got 2 shards"),
        (["--set", "recipes.also=[l2 + lsd]"], "lsd"),
        (["--shards", "2", "--steal", "--set", "budget.trials=20"], "a budget is shared among drivers by their cells"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is_written(
    args: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = tmp_path / "results"
    assert re.search(message, told(capsys, "submit", write(tmp_path), "--storage", storage, *args, code=2))
    assert not storage.exists() or not list(storage.iterdir())


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Path]:
    """A storage whose submission is stopped at the end, whatever the test did."""
    storage = tmp_path / "results"
    yield storage
    ticket = find(LocalStore(storage), "tiny", "local")
    if ticket is not None:
        target(ticket.submission, ticket.sent).cancel()


@pytest.mark.long
def test_a_submission_runs_once_is_stopped_with_checkpoints_and_goes_on_to_the_same_table(
    stopped: Path, tmp_path: Path
) -> None:
    longer = write(tmp_path, STUDY.replace("epochs: 4", "epochs: 240"))
    args = (longer, "--storage", stopped, "--shards", "2", "--steal")
    assert "2 cells in 2 shards, sent" in tailsweep("submit", *args)
    assert "under way already" in tailsweep("submit", *args, COLUMNS="40"), "a narrow terminal hides nothing"
    (stopped / "tiny" / "table.md").write_text("what an attempt before had made")
    follower = subprocess.Popen(command("submit", *args, "--follow"), stdout=subprocess.PIPE, text=True)
    assert "with another definition, profile, --shards or" in tailsweep("submit", *args[:-2], "1", code=2)
    deadline = time.monotonic() + HUNG_S
    while time.monotonic() < deadline and not list((stopped / "ledger").glob("tune/*.parquet")):
        time.sleep(0.05)
    tailsweep("cancel", "tiny", "--stored", "--storage", stopped)
    while "running" in tailsweep("status", *args[:3], "--cluster", "local").splitlines()[0]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    followed, _ = follower.communicate(timeout=60)
    assert follower.returncode == 3
    assert "says why" in followed
    assert "what an attempt before had made" not in followed
    assert 0 < Ledger(str(stopped)).read("tune").num_rows < 10, "it was stopped before all were searched"
    assert list((stopped / "checkpoints").glob("*.pt")), "what was under way left a checkpoint"
    said = tailsweep("submit", *args, "--follow")
    assert "shard 1/2" in said
    assert "## nhanes-sbp" in said
    assert "exit code 0" in tailsweep("logs", *args[:3], "--cluster", "local") + said
    tailsweep("sweep", longer, "--storage", tmp_path / "whole")
    assert results(stopped) == results(tmp_path / "whole")
    ours, theirs = (path / "tiny" / "table.csv" for path in (stopped, tmp_path / "whole"))
    assert ours.read_bytes() == theirs.read_bytes()


DRIVER = """
import sys
from clusters.profile import profile
from orchestrator import Study
from orchestrator.api import sweep_shard

study = Study.load(sys.argv[1], ["storage=" + sys.argv[2]])
sweep_shard(study, int(sys.argv[3]), 2, True, profile("local", ["start.num_cpus=1"]), lease_s=5.0)
"""


@pytest.mark.long
def test_the_work_of_a_driver_that_freezes_is_taken_over_and_is_in_the_ledger_once(tmp_path: Path) -> None:
    longer, storage = write(tmp_path, STUDY.replace("epochs: 4", "epochs: 30")), tmp_path / "results"
    drivers = [
        subprocess.Popen([sys.executable, "-c", DRIVER, longer, storage, str(number)], start_new_session=True)
        for number in range(2)
    ]
    frozen, awake = drivers
    try:
        deadline = time.monotonic() + HUNG_S
        while len(list((storage / "ledger").glob("tune/*.parquet"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        frozen.send_signal(signal.SIGSTOP)
        assert awake.wait(timeout=HUNG_S) == 0, "it sees the study through"
        assert frozen.poll() is None
        assert len(results(storage)) == 14
        frozen.send_signal(signal.SIGCONT)
        assert frozen.wait(timeout=HUNG_S) == 0
    finally:
        for driver in drivers:
            driver.kill()
            driver.wait()
    assert len(list((storage / "ledger").glob("[te]*/*.parquet"))) == 14
    tailsweep("sweep", longer, "--storage", tmp_path / "whole")
    assert results(storage) == results(tmp_path / "whole")
