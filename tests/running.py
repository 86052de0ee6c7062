"""Running the command line as a user does, on a small study, and reading what it left."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from orchestrator import Ledger
from orchestrator.ledger.records import Phase

HUNG_S: Final = 900
"""A command that takes longer hangs: machines are slow, and share their cores, so this is far from what one takes."""
STUDY = """
study: tiny
workloads: [nhanes-sbp]
recipes: {also: [l1 + lds, l1 + fds + ranksim]}
tune: {trials: 3, parallel: 2, rescore: 2, rescore_seeds: 1}
evaluate: {seeds: 2}
train: {epochs: 4}
tracking: {enabled: false}
"""


def write(folder: Path, text: str = STUDY) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "orchestrator.cli", *map(str, args)]


def tailsweep(*args: str | Path, code: int = 0, **environment: str) -> str:
    done = subprocess.run(
        command(*args), capture_output=True, text=True, timeout=HUNG_S, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def results(storage: Path | str) -> dict[str, object]:
    """Everything about the trials of a storage that must not depend on when and how they ran."""
    phases: tuple[Phase, ...] = ("tune", "evaluate")
    kept = ("trial_id", "settings", "status", "epochs_run", "kept_epoch", "val", "curve", "test")
    ledger = Ledger(str(storage))
    found = {}
    for phase in phases:
        for row in ledger.read(phase).to_pylist():
            found[row["trial_id"]] = {name: row[name] for name in kept if name in row}
    return found


def processes(*marks: bytes) -> list[int]:
    """Processes with one of these in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if any(mark in path.read_bytes() for mark in marks):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def slay(pid: int) -> None:
    """SIGKILL, to a process that may have ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
