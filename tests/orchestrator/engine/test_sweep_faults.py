"""Sweeps on a real Ray that is killed, on a disk that fills up, and with trials that hang."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaos import scene as scenes
from chaos.scene import Command, Scene, send, until
from orchestrator.ledger.ledger import Ledger
from running import HUNG_S

pytestmark = pytest.mark.slow

EVIL = """
import os, re, time
from workloads.hparams import Declared
from workloads.seam import Method

class Evil(Method):
    '''Does harm in the second epoch.'''
    source = "made up"
    class Hparams(Declared):
        pass
    def penalty(self, step):
        if step.batch.epoch >= 1:
            self.harm()
        return step.pred.sum() * 0

class Hangs(Evil):
    def harm(self):
        while True: time.sleep(1)

class HangsInC(Evil):
    def harm(self): re.match("(a+)+$", "a" * 60 + "b")

class Breaks(Evil):
    def harm(self): raise OSError("no device")  # an Error in a line of source

class Exits(Evil):
    def harm(self): os._exit(7)

class Slow(Evil):
    def harm(self):
        time.sleep(0.2)

class Fills(Evil):
    def harm(self): raise OSError(28, "No space left on device", "/some/place")

METHODS = {"hangs": Hangs, "hangs_in_c": HangsInC, "breaks": Breaks, "slow": Slow, "exits": Exits, "fills": Fills}
"""


def scene(folder: Path, *changes: tuple[str, str]) -> Scene:
    """The study of the chaos suite, with these words of it replaced."""
    made = Scene(folder, str(folder / "results"), {"PYTHONPATH": f"{folder}{os.pathsep}{Path.cwd()}"})
    scenes.write(folder)
    text = scenes.STUDY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    (folder / "evil.py").write_text(EVIL, encoding="utf-8")
    return made


def end(command: Command, code: int, seconds: float = HUNG_S, or_code: int | None = None) -> str:
    ended = command.ended(seconds)
    if not ended:
        command.process.kill()
    assert ended, f"still there after {seconds} s: {command.said}"
    assert command.process.returncode in {code, or_code}, f"exit code {command.process.returncode}\n{command.said}"
    assert "Traceback" not in command.said
    return command.said


def training(command: Command) -> None:
    """Wait until epochs are trained: a checkpoint of them is written."""
    checkpoints, begun = command.output.parent / "results" / "checkpoints", time.time()

    def written() -> bool:
        try:
            return any(path.stat().st_mtime > begun for path in checkpoints.glob("*.pt"))
        except FileNotFoundError:  # its trial has ended since it was listed
            return False

    assert until(lambda: command.process.poll() is not None or written(), 300)
    assert command.process.poll() is None, command.said


def starts(command: Command) -> None:
    """Wait for the node, to which the driver has not connected yet."""
    assert until(lambda: command.roles()["raylet"], 300)


def test_trials_that_hang_or_break_are_recorded_with_their_reason_and_the_others_complete(tmp_path: Path) -> None:
    made = scene(
        tmp_path,
        ("[l1, l1 + sqinv]", "[l1 + hangs, l1 + hangs_in_c, l1 + breaks, l1 + exits, l1]"),
        ("trials: 2", "trials: 1, epoch_time_limit_s: 60"),
        ("checkpoint_every_s: 0", "checkpoint_every_s: 0\nplugins: [evil]"),
        ("{concurrent: 2}", "{concurrent: 2, pack: 2}"),
    )
    # The limit covers the start of a worker on a busy machine. The two that hang are first in a pack, which has twice
    # the time, then each by itself.
    said = end(made.sweep(), 3, 600)
    rows = {row["recipe"]: row for row in Ledger(made.storage).read("tune").to_pylist()}
    assert {name: (row["status"], row["error"]) for name, row in rows.items() if name != "l1 + exits"} == {
        "l1": ("completed", None),
        "l1 + hangs": ("failed", "Timed out after 60 s in one epoch"),
        "l1 + hangs_in_c": ("failed", "Timed out after 60 s in one epoch"),
        "l1 + breaks": ("failed", "OSError: no device"),
    }
    assert rows["l1 + exits"]["status"] == "failed"
    assert "--retry-failed trains it again" in rows["l1 + hangs"]["log"]
    assert len(rows["l1 + hangs"]["curve"]) == 1, "what it had is kept"
    assert "failed: mine/l1 + hangs tune 0: Timed out after 60 s in one epoch" in said
    assert Ledger(made.storage).read("evaluate").num_rows == 1
    ids = {name: row["trial_id"] for name, row in rows.items()}
    study = made.folder / "study.yaml"
    study.write_text(study.read_text("utf-8").replace("epoch_time_limit_s: 60", "time_limit_s: 100"), encoding="utf-8")
    said = end(made.sweep(), 3, 120)
    assert "6 of 14 trials are in the ledger already" in said or "trials are in the ledger already" in said
    assert {row["recipe"]: row["trial_id"] for row in Ledger(made.storage).read("tune").to_pylist()} == ids


def test_a_local_ray_that_is_killed_ends_the_sweep_in_time_and_the_same_command_completes_it(tmp_path: Path) -> None:
    made = scene(
        tmp_path,
        ("[l1, l1 + sqinv]", "[l1 + slow, l1 + slow + sqinv]"),
        ("epochs: 6", "epochs: 60"),
        ("checkpoint_every_s: 0", "checkpoint_every_s: 1\nplugins: [evil]"),
    )
    for role, name, moment in (("raylet", "node", starts), ("raylet", "node", training), ("gcs", "head", training)):
        command = made.sweep()
        moment(command)
        (pid,) = command.roles()[role]
        send(pid, signal.SIGKILL)
        said = end(command, 3, 60)
        assert said.count("tailsweep: the cluster failed: ") == 1
        assert re.search(
            rf"the cluster failed: the {name} process of Ray on this machine \(.*\) (was killed by sig|ended while)",
            said,
        )
        assert "run the same command again" in said
    end(made.sweep(), 0, 600)
    assert len(made.outcomes()) == scenes.TRIALS


def test_an_interrupt_ends_a_sweep_in_time_also_when_its_ray_is_stopped_or_dead(tmp_path: Path) -> None:
    made = scene(tmp_path, ("epochs: 6", "epochs: 10000"))
    for number, then in (((signal.SIGSTOP), 1), (signal.SIGKILL, 1), (None, 2)):
        command = made.sweep()
        training(command)
        roles = command.roles()
        family = command.all()
        if number is not None:
            for role in ("raylet", "gcs", "worker") if number == signal.SIGSTOP else ("raylet", "gcs"):
                for pid in roles[role]:
                    send(pid, number)
        began = time.monotonic()
        for _ in range(then):
            command.process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        dead = number == signal.SIGKILL  # on a busy machine its death may be noticed before the interrupt
        said = end(command, 130, 20, or_code=3 if dead else None)
        assert time.monotonic() - began < (20 if then == 1 else 8)
        assert said.count("tailsweep: interrupted; the same command continues") == 1 or (
            dead and said.count("tailsweep: the cluster failed: ") == 1
        )
        for pid in family:
            send(pid, signal.SIGKILL)  # stopped workers cannot see that their node has gone


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux" or not shutil.which("mount"), reason="mounts a disk")
def test_a_full_disk_is_the_storages_failure_and_the_same_command_completes_on_a_larger_one(tmp_path: Path) -> None:
    made = scene(tmp_path)
    place = Path(made.storage)
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(place)], check=True)
    try:
        for _ in range(2):
            said = end(made.sweep(), 4)
            assert "tailsweep: the storage failed: " in said
            assert "No space left on device" in said
            assert "failed" not in {row["status"] for row in Ledger(made.storage).read().to_pylist()}
        subprocess.run(["mount", "-o", "remount,size=16m", str(place)], check=True)
        end(made.sweep(), 0)
        assert {row["status"] for row in Ledger(made.storage).read().to_pylist()} == {"completed"}
        assert sum(made.records().values()) == len(made.outcomes()) == scenes.TRIALS
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_worker_on_a_full_disk_ends_the_sweep_and_charges_no_trial(tmp_path: Path) -> None:
    made = scene(
        tmp_path,
        ("[l1, l1 + sqinv]", "[l1 + fills]"),
        ("checkpoint_every_s: 0", "checkpoint_every_s: 0\nplugins: [evil]"),
    )
    said = end(made.sweep(), 4)
    assert "tailsweep: the storage failed: cannot write /some/place: No space left on device" in said
    assert not made.records()
