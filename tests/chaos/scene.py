"""A study that is trained in seconds, swept through the command line, and what must be true of its storage."""

import contextlib
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.names import PHASES
from orchestrator.ledger.parquet import Damaged

STUDY = """
study: chaos
workloads:
  - {name: mine, type: table, file: rows.csv, target: y, bin_width: 0.5, unit: u, hidden: [8], few: 5, many: 12}
recipes: {also: [l1, l1 + sqinv]}
tune: {trials: 2, parallel: 2, rescore: 1}
evaluate: {seeds: 1}
train: {epochs: 6}
checkpoint_every_s: 0
resources: {concurrent: 2}
"""
TRIALS = 6
TABLES = ("table.md", "table.csv", "table.tex")
STEP_S = 400.0
"""The bound of a command that nothing stops, on a machine that does other things."""
END_S = 60.0
"""The bound of a sweep whose Ray is broken."""


def write(folder: Path) -> None:
    """The study file and its ninety rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    chance = random.Random(0)
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("a", "b", "y"))
        for _ in range(90):
            a, b = chance.gauss(0, 1), chance.gauss(0, 1)
            rows.writerow((round(a, 4), round(b, 4), round(min(4.9, max(0.0, 2 + 0.6 * a + 0.3 * b)), 2)))


def children() -> dict[int, list[int]]:
    """Processes by their parent."""
    found: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_bytes().rpartition(b")")[2].split()[1])
        except OSError:
            continue
        found.setdefault(parent, []).append(int(path.parent.name))
    return found


def _works(command: bytes) -> bool:
    """Whether it is a worker of Ray: its agents have names alike, and the node ends without them."""
    name = command.partition(b"\0")[0]
    return name.startswith(b"ray::") and not name.endswith(b"Agent")


def told(pid: int, what: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


@dataclass
class Command:
    """A command of tailsweep that runs, in a session of its own, with its output in a file."""

    process: "subprocess.Popen[bytes]"
    output: Path
    started: float = field(default_factory=time.monotonic)

    @property
    def said(self) -> str:
        return self.output.read_text("utf-8", errors="replace")

    def ended(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def roles(self) -> dict[str, list[int]]:
        """Its processes by what they do: driver, tracker, gcs, raylet, worker."""
        below = children()
        found = {"driver": [self.process.pid], "tracker": [], "gcs": [], "raylet": [], "worker": []}
        for pid in below.get(self.process.pid, ()):
            name = told(pid, "comm").strip()
            if name == b"raylet":
                found["raylet"].append(pid)
                found["worker"] += [w for w in below.get(pid, ()) if _works(told(w, "cmdline"))]
            elif name.startswith(b"gcs_server"):
                found["gcs"].append(pid)
            elif b"orchestrator.cli\0track" in told(pid, "cmdline"):
                found["tracker"].append(pid)
        return found

    def all(self) -> set[int]:
        """It and all that descends from it."""
        below, found, left = children(), set(), [self.process.pid]
        while left:
            pid = left.pop()
            found.add(pid)
            left += below.get(pid, ())
        return found


def send(pid: int, number: signal.Signals) -> bool:
    """A signal to a process that may have ended; says whether it was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


@dataclass
class Scene:
    """A folder with the study, where it is stored, and the environment of its commands."""

    folder: Path
    storage: str
    environment: dict[str, str] = field(default_factory=dict)
    cpus: int = 2
    commands: list[Command] = field(default_factory=list)

    def start(self, *command: str) -> Command:
        """Start a command on the study."""
        output = self.folder / f"said-{len(self.commands) + 1:03}.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.cli", *command, "study.yaml", "--storage", self.storage],
                cwd=self.folder,
                env={**os.environ, "TAILSWEEP_TRACKING__ENABLED": "false", **self.environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.commands.append(Command(process, output))
        return self.commands[-1]

    def close(self) -> None:
        """Kill what still runs of its commands."""
        for command in self.commands:
            if command.process.poll() is None:
                for pid in command.all():
                    send(pid, signal.SIGKILL)
                command.process.wait()

    def sweep(self) -> Command:
        """Start the sweep: the same command, always."""
        return self.start("sweep", "--cluster-set", f"start.num_cpus={self.cpus}")

    def records(self) -> Counter[str]:
        """Committed attempts by trial id; a damaged one is none, since its trial is trained again."""
        ledger = Ledger(self.storage)
        found: Counter[str] = Counter()
        for phase in PHASES:
            for attempt in ledger.loose(phase):
                with contextlib.suppress(Damaged):
                    found[attempt[0]] += bool(ledger.row(phase, attempt))
        return found

    def planned(self) -> int:
        """Trials of the plan, as the command line says."""
        command = self.start("plan", "--json")
        assert command.ended(STEP_S), "plan hangs"
        said = command.said
        return int(json.loads(said[said.index("{") :])["trials"])

    def tables(self) -> dict[str, bytes | None]:
        """The written tables."""
        store = Ledger(self.storage).store
        return {name: store.get(f"chaos/{name}") for name in TABLES}

    def outcomes(self) -> dict[str, tuple[object, ...]]:
        """What was measured, by trial: all that must not depend on what happened on the way."""
        rows = Ledger(self.storage).read().to_pylist()
        kept = ("phase", "settings", "status", "epochs_run", "kept_epoch", "val", "test")
        return {row["trial_id"]: tuple(json.dumps(row[name], default=str) for name in kept) for row in rows}


def until(what: Callable[[], object], seconds: float, every: float = 0.05) -> bool:
    """Whether something comes true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
