"""Submitting to Slurm: the scripts, and whole studies on a small Slurm of this machine (tests/slurm)."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clusters.profile import profile
from clusters.submission import State, Submission, find, submit, target
from in_process import trained_here
from orchestrator.errors import BadInput, ClusterFailed
from orchestrator.storage.store import open_store
from orchestrator.study.spec import Study
from running import HUNG_S, tailsweep, write

HERE = Path(__file__).parents[2] / "programs" / "slurm"
ROOT = Path(__file__).parents[3]
SHELLCHECK = str(Path(sys.executable).with_name("shellcheck"))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.load(str(write(tmp_path)), [f"storage={tmp_path / 'results'}"])


def made(study: Study, *overrides: str, cells: int = 2) -> Submission:
    return Submission(study, profile("slurm", overrides), open_store(study.storage).uri, cells)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """A small Slurm with two places; ask it by `slurm("advance", "JOB_TASK")`."""
    folder, programs = tmp_path / "fake", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    for name in ("sbatch", "squeue", "scancel", "sacct", "scontrol", "advance", "restarts"):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "controller.py"} {name} "$@"\n')
    (programs / "srun").write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "srun.py"} "$@"\n')
    for path in programs.iterdir():
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    controller = subprocess.Popen([sys.executable, str(HERE / "controller.py"), str(folder), "2"])
    while not (folder / "socket").exists():
        assert controller.poll() is None
        time.sleep(0.05)

    def ask(name: str, *args: str) -> str:
        return subprocess.run([name, *args], capture_output=True, text=True, check=True).stdout.strip()

    yield ask
    ask("scancel", "--me")
    until(lambda: not processes(tmp_path))
    controller.kill()
    controller.wait()


def tickets(folder: Path) -> list[dict[str, Any]]:
    """What was sent."""
    return [json.loads(path.read_text())["sent"] for path in folder.glob("results/*/submissions/*.json")]


def processes(folder: Path) -> list[str]:
    """Commands of processes that a job of the small Slurm in this folder has left running."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            marks = set((path / "environ").read_bytes().split(b"\0"))
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        job = any(mark.startswith(b"SLURM_JOB_ID=") for mark in marks)
        if job and f"FAKE_SLURM={folder / 'fake'}".encode() in marks and command:
            found.append(command)
    return found


def until(holds: Callable[[], Any], seconds: float = HUNG_S) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("options.partition=gpu", "options.gres=gpu:1", "options.at_once=3", "options.setup=[module load cuda]"),
        ("options.head_and_workers=true", "options.nodes=3", "shards=1"),
        ("secrets.A=env:B", "secrets.C=file:/tmp/a secret"),
    ],
)
def test_the_scripts_are_sound_bash(study: Study, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    for text in texts(target(made(study, *overrides), {}).preview()):
        script = tmp_path / "script.sh"
        script.write_text(text, "utf-8")
        subprocess.run(["bash", "-n", str(script)], check=True)
        check = [SHELLCHECK, "--shell=bash", "--severity=warning", str(script)]
        done = subprocess.run(check, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def texts(preview: str) -> list[str]:
    """The scripts of a preview."""
    return [part.partition("\n")[2] for part in preview.split("# sbatch") if part]


def test_options_reach_sbatch_and_what_they_leave_out_does_not(study: Study) -> None:
    text = target(made(study, "options.partition=gpu", 'options.time="08:00:00"', "options.at_once=1"), {}).preview()
    assert "#SBATCH --partition=gpu" in text
    assert "#SBATCH --time=08:00:00" in text
    assert "#SBATCH --array=0-1%1" in text
    assert "--account" not in text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("options.time=1440", "minutes in quotes: got 1440"),
        ('options.partition="gpu\\nrm"', "a value of one line"),
        ("options.gpu=1", "known: .*gres"),
        ("options.nodes=2", "head_and_workers"),
        ("options.head_and_workers=true", "one driver"),
        ("image=python:3.11", "options.setup"),
        ("address=host:6379", "head_and_workers"),
        ("secrets.A=vault:b", "env:VARIABLE or file:/path"),
    ],
)
def test_what_slurm_cannot_run_is_refused(study: Study, override: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        target(made(study, override), {})


def test_a_login_node_is_needed(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BadInput, match="squeue must be on PATH"):
        target(made(study), {}).submit()


def test_a_controller_that_does_not_answer_is_no_bad_input(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "squeue"
    command.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(ClusterFailed, match="Unable to contact slurm controller"):
        target(made(study), {}).submit()


def test_a_partition_that_is_not_there_is_told_in_one_message(study: Study, slurm: Callable[..., str]) -> None:
    with pytest.raises(
        BadInput, match=r"sbatch must accept .*: invalid partition specified: huge .*options of"
    ) as told:
        target(made(study, "options.partition=huge"), {}).submit()
    assert "\n" not in str(told.value)


def test_secrets_are_never_written_down(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    chosen = target(made(study, f"secrets.A=file:{secret}", "secrets.B=env:MINE"), {})
    monkeypatch.setenv("MINE", "hunter3")
    assert "hunter" not in chosen.preview()
    with pytest.raises(BadInput, match="chmod 600"):
        chosen.submit()
    secret.chmod(0o600)
    monkeypatch.delenv("MINE")
    with pytest.raises(BadInput, match="MINE must be set"):
        chosen.submit()


def sleeping(study: Study, tmp_path: Path, seconds: int = 600) -> Submission:
    """A submission whose Python only sleeps, and ends well when it is told to stop."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/bash\ntrap 'exit 143' TERM\nsleep {seconds} & wait $!\n")
    python.chmod(0o755)
    return made(study, f"options.python={python}", "options.at_once=1", cells=3)


def test_what_is_in_the_queue_is_not_sent_twice(study: Study, tmp_path: Path, slurm: Callable[..., str]) -> None:
    chosen = target(sleeping(study, tmp_path), {})
    first = chosen.submit()
    assert target(sleeping(study, tmp_path), {}).submit() == first  # the ticket was lost
    assert len(json.loads(slurm("restarts"))) == 3 + 1
    until(lambda: target(sleeping(study, tmp_path), first).state().word == "running")
    lines = "\n".join(target(sleeping(study, tmp_path), first).state().lines)
    assert "shard 0: running" in lines
    assert "pending (JobArrayTaskLimit, options.at_once shards run)" in lines
    assert "report: pending (Dependency, the shards come first)" in lines
    target(sleeping(study, tmp_path), first).cancel()


def test_what_is_sent_is_the_preview(study: Study, tmp_path: Path, slurm: Callable[..., str]) -> None:
    chosen = target(sleeping(study, tmp_path, 0), {})
    sent = chosen.submit()
    spooled = [tmp_path / "fake" / f"{sent[part]}.sh" for part in ("drivers", "report")]
    assert [text.strip() for text in texts(chosen.preview())] == [path.read_text().strip() for path in spooled]


def test_cancel_takes_all_out_of_the_queue_and_lets_drivers_save(
    study: Study, tmp_path: Path, slurm: Callable[..., str]
) -> None:
    submission, _ = submit(sleeping(study, tmp_path), open_store(study.storage))
    ticket = find(open_store(study.storage), study.study, "slurm")
    assert ticket is not None
    chosen = target(submission, ticket.sent)
    until(lambda: chosen.state().word == "running" and processes(tmp_path))
    chosen.cancel()
    until(lambda: not chosen.state().live)
    state = chosen.state()
    assert state.word == "stopped"
    assert "shard-0: exit code 143" in state.lines
    assert not processes(tmp_path)
    again, new = submit(sleeping(study, tmp_path), open_store(study.storage))
    assert (again.attempt, new) == (2, True)
    target(again, tickets(tmp_path)[0]).cancel()


def test_a_state_that_is_not_known_is_alive(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = made(study)
    command = tmp_path / "squeue"
    command.write_text(f"#!/bin/sh\necho '7|{submission.name}|0|FROZEN_SOLID|None'\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    state = target(submission, {"drivers": "7"}).state()
    assert state == State("running", ("shard 0: frozen solid",))


@pytest.mark.parametrize(
    ("accounted", "word", "line"),
    [
        ("echo '7_0|{name}|COMPLETED|0:0'; echo '8|{name}-report|COMPLETED|0:0'", "ended", ""),
        ("echo '7_1|{name}|OUT_OF_MEMORY|0:125'", "failed", "shard 1: out of memory .*options.mem"),
        ("echo '8|{name}-report|CANCELLED by 1000|0:0'", "failed", "report: cancelled .*it was cancelled"),
        ("echo '7_1|{name}|HIBERNATING|0:0'", "unknown", "shard 1: hibernating"),
        ("echo 'Slurm accounting storage is disabled' >&2; exit 1", "failed", "see /"),
    ],
)
def test_of_jobs_that_left_the_queue_the_accounting_tells(
    accounted: str, word: str, line: str, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = made(study)
    for name, body in (("squeue", ""), ("sacct", accounted.format(name=submission.name))):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    state = target(submission, {"drivers": "7", "report": "8"}).state()
    assert state.word == word
    assert re.search(line, "\n".join(state.lines))


def trained(storage: Path) -> int:
    return len(list((storage / "ledger").rglob("*.parquet"))) if storage.is_dir() else 0


@pytest.mark.slow
def test_shards_that_are_requeued_at_their_limit_make_the_table_of_a_plain_sweep(
    tmp_path: Path, slurm: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    file, results = write(tmp_path), tmp_path / "results"
    where = ("--cluster", "slurm", "--storage", results)
    own = ("--shards", "2", "--cluster-set", "options.cpus_per_task=1", "--cluster-set", "steal=false")
    assert "in 2 shards, sent" in tailsweep("submit", file, *where, *own)
    assert "under way already" in tailsweep("submit", file, *where, *own)
    drivers = tickets(tmp_path)[0]["drivers"]
    until(lambda: trained(results) > 0)
    slurm("advance", f"{drivers}_0")
    until(lambda: json.loads(slurm("restarts"))[f"{drivers}_0"] == 1)
    ticket = find(open_store(str(results)), "tiny", "slurm")
    assert ticket is not None
    chosen = target(ticket.submission, ticket.sent)
    until(lambda: not chosen.state().live)
    told = "\n".join(chosen.logs(follow=False))
    assert chosen.state().word == "ended", told
    assert "shard-0: the time limit came; trials are saved" in told
    whole = trained_here(file, tmp_path / "whole")
    assert (results / "tiny/table.csv").read_text() == (whole / "tiny/table.csv").read_text()
    assert not processes(tmp_path)
    assert not list(Path("/tmp").glob(f"ts-{int(drivers) // 10}*"))


@pytest.mark.long
def test_one_ray_over_several_nodes_is_requeued_and_leaves_nothing_behind(
    tmp_path: Path, slurm: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    file, storage = write(tmp_path), tmp_path / "results"
    own = ("shards=1", "options.head_and_workers=true", "options.nodes=2", "options.cpus_per_task=1")
    where = ("--cluster", "slurm", "--storage", storage, *(word for key in own for word in ("--cluster-set", key)))
    tailsweep("submit", file, *where)
    sent = tickets(tmp_path)[0]
    until(lambda: trained(storage) > 0)
    slurm("advance", sent["drivers"])
    until(lambda: json.loads(slurm("restarts"))[sent["drivers"]] == 1)
    ticket = find(open_store(str(storage)), "tiny", "slurm")
    assert ticket is not None
    chosen = target(ticket.submission, ticket.sent)
    until(lambda: not chosen.state().live)
    told = "\n".join(chosen.logs(follow=False))
    assert chosen.state().word == "ended", told
    assert told.count("2 of 2 nodes joined the Ray cluster") == 2
    assert "the time limit came; trials are saved" in told
    assert not processes(tmp_path)
    assert not list(Path(sent["folder"]).glob("token-*"))
    assert not list(Path("/tmp").glob(f"ts-{sent['drivers']}-*"))
