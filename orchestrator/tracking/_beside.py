"""The tracker beside a sweep: a process of its own, which slows nothing down while it trains and little at the end."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console

from orchestrator.errors import StorageFailed, one_line
from orchestrator.storage.store import local_folder, remote
from orchestrator.study.spec import OF_THE_NODE, PREFIX, Study
from orchestrator.tracking import tracker

SHARE: Final = 0.01
LAST_S: Final = 30.0
"""How long the end of a sweep waits for a server: this share of what the sweep took, or so many seconds."""


@contextmanager
def beside(study: Study, console: Console) -> Iterator[None]:
    """Start the tracker, which follows the ledger and ends when its standard input does, and wait for it at the end.

    A file is waited for until it has everything. A server that is slow is not: the tracker goes on without the sweep.
    """
    if not study.tracking.enabled:
        yield
        return
    folder = local_folder(study.storage) / study.study
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if remote(study.storage):
            (folder / "study.json").write_text(study.model_dump_json(indent=1), encoding="utf-8")
        log = (folder / "track.log").open("w", encoding="utf-8")
    except OSError as err:
        raise StorageFailed(f"cannot write {folder}: {err.strerror}") from err
    # What the environment says of the study is in its file already; what the command line said must not be undone.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX) or k in OF_THE_NODE}
    environment["PYTHONSAFEPATH"] = "1"  # -P for what it starts itself
    command = [sys.executable, "-P", "-m", "orchestrator.cli", "track", str(folder / "study.json"), "--follow"]
    with log:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the sweep; the tracker ends when its input does
        )
        assert process.stdin is not None
        try:
            yield
        finally:
            process.stdin.close()  # it ends by itself, and an interrupt does not wait for it
        patience_s = max(LAST_S, SHARE * (time.monotonic() - began)) if _on_server(study) else None
        why = _missing(process, patience_s, folder / "track.log")
        if why:
            console.print(
                f"{tracker(study).title} is behind: {one_line(why)}\n"
                f"`tailsweep track {study.study}` completes it; the results are safe.",
                highlight=False,
                markup=False,
            )


def _missing(process: subprocess.Popen[bytes], patience_s: float | None, log: Path) -> str:
    """Why the server has not got everything; empty when it has."""
    try:
        if not process.wait(patience_s):
            return ""
    except subprocess.TimeoutExpired:
        return "it takes what it is sent slowly, and is still being sent to"
    said = log.read_text("utf-8", "replace").strip().splitlines() or ["no reason given"]
    return said[-1].removeprefix("tailsweep: ")


def _on_server(study: Study) -> bool:
    uri = study.tracking.uri or ""
    return "://" in uri and not uri.startswith("sqlite")
