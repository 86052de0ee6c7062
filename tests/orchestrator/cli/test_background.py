"""Sweeps that outlive their terminal, as processes of this machine: detached, followed, left, stopped, and dead."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clusters.submission import find, target
from in_process import trained_here
from orchestrator.storage.store import LocalStore
from running import HUNG_S, STUDY, command, processes, results, slay, tailsweep, write

LONG = STUDY.replace("epochs: 4", "epochs: 16")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Path]:
    """A storage whose detached sweep is ended with the test, whatever the test did."""
    folder = tmp_path / "results"
    yield folder
    ticket = find(LocalStore(folder), "tiny", "local")
    if ticket is not None:
        target(ticket.submission, ticket.sent).cancel()
        for pid in processes(str(folder).encode()):
            slay(pid)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + HUNG_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["sweep", "--detach", "--shard", "0/1"], "--detach is for a whole sweep on this machine"),
        (["sweep", "--detach", "--failed-ok"], "leave out --shard and --failed-ok"),
        (["sweep", "--detach", "--cluster", "slurm"], "tailsweep submit sends a study to a cluster"),
        (["attach"], "no sweep of study tiny was detached on this machine"),
        (["status", "--json", "--cluster", "local"], "--json and --watch tell of the ledger"),
    ],
)
def test_what_cannot_be_detached_or_followed_is_told(
    args: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from orchestrator.cli.main import main

    assert main([args[0], str(write(tmp_path)), "--storage", str(tmp_path / "results"), *args[1:]]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_a_detached_sweep_outlives_who_follows_it_and_makes_the_same_results(storage: Path, tmp_path: Path) -> None:
    file = write(tmp_path, LONG)
    args = (file, "--storage", storage)
    terminal = subprocess.run(
        command("sweep", *args, "--detach"), capture_output=True, text=True, start_new_session=True, check=True
    )
    log = Path(next(line for line in terminal.stdout.splitlines() if line.startswith("log: ")).removeprefix("log: "))
    assert "started" in terminal.stdout and "tailsweep attach tiny --stored" in terminal.stdout
    assert "under way already" in tailsweep("sweep", *args, "--detach")
    until(lambda: list((storage / "ledger").glob("tune/*.parquet")))
    follower = subprocess.Popen(command("attach", *args), stdout=subprocess.PIPE, text=True)
    assert follower.stdout is not None
    assert follower.stdout.readline().startswith("shard-0: ")
    follower.send_signal(signal.SIGINT)
    said, _ = follower.communicate(timeout=HUNG_S)
    assert follower.returncode == 130 and "goes on; tailsweep attach tiny comes back" in said
    made = json.loads(tailsweep("status", *args, "--json"))
    assert made["background"] == "running" and made["drivers"][0]["host"] == os.uname().nodename
    assert "## nhanes-sbp" in tailsweep("attach", *args)
    assert "14/14 trials done" in log.read_text()
    assert "tiny-" in (said := tailsweep("status", *args)) and "ended" in said and ", 0 missing" in said
    assert results(storage) == results(trained_here(file, tmp_path / "here"))


@pytest.mark.long
def test_a_detached_sweep_that_died_or_was_stopped_is_noticed_and_goes_on(storage: Path, tmp_path: Path) -> None:
    args = (write(tmp_path, LONG), "--storage", storage)
    tailsweep("sweep", *args, "--detach")
    until(lambda: list((storage / "ledger").glob("tune/*.parquet")))
    for pid in processes(str(storage).encode()):
        slay(pid)
    assert "it died" in tailsweep("attach", *args, code=3)
    assert "failed, it died" in tailsweep("status", *args)
    tailsweep("sweep", *args, "--detach")
    until(lambda: json.loads(tailsweep("status", *args, "--json"))["running"])
    tailsweep("cancel", *args)
    assert "stopped" in tailsweep("attach", *args, code=143)
    tailsweep("sweep", *args, "--detach")
    assert "## nhanes-sbp" in tailsweep("attach", *args)
