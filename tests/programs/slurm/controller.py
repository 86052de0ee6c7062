"""A small Slurm on this machine: a controller that starts batch scripts as processes, and its commands.

Real processes, arrays, dependencies, time limits with a signal before them, requeues and cancelling; one user, one
node with a few places. Processes of a job are known by their environment, as a control group would know them.

`controller.py FOLDER PLACES` serves; `controller.py COMMAND FOLDER …` is sbatch, squeue, scancel, sacct, scontrol, or
`advance JOB_TASK`, which says that the job's time limit is as near as its signal.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PARTITIONS = {"cpu", "gpu"}
OPTIONS = {
    "job-name", "array", "output", "open-mode", "chdir", "signal", "requeue", "partition", "account", "qos", "time",
    "gres", "mem", "cpus-per-task", "nodes", "ntasks-per-node", "dependency", "constraint", "parsable",
}  # fmt: skip
KILL_WAIT_S = 5.0
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"}


@dataclass
class Task:
    """An element of an array, or a job that is none."""

    array: int
    number: int
    index: int | None
    given: dict[str, str]
    script: Path
    environment: dict[str, str]
    state: str = "PENDING"
    reason: str = "None"
    restarts: int = 0
    code: int = 0
    process: Any = None
    limit: float = float("inf")
    deadline: float = float("inf")
    signalled: bool = False
    after: str | None = None
    not_before: float = 0.0
    stops: list[tuple[float, int]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.array) if self.index is None else f"{self.array}_{self.index}"

    @property
    def warning(self) -> tuple[int, float]:
        """The signal to the batch script, and how long before the limit."""
        name, _, seconds = self.given.get("signal", "B:TERM@0").removeprefix("B:").partition("@")
        return int(signal.Signals[f"SIG{name}"]), float(seconds)


class Controller:
    def __init__(self, folder: Path, places: int) -> None:
        self.folder, self.places = folder, places
        self.tasks: list[Task] = []
        self.lock = threading.Lock()
        self.number = 100 * os.getpid()

    def sbatch(self, argv: list[str], environment: dict[str, str]) -> str:
        given, files = {}, []
        for word in argv:
            if word.startswith("--"):
                given.update([_option(word)])
            else:
                files.append(word)
        text = Path(files[0]).read_text("utf-8")
        for line in text.splitlines():
            if line.startswith("#SBATCH "):
                given = {**dict(_option(word) for word in shlex.split(line.removeprefix("#SBATCH "))), **given}
        unknown = sorted(set(given) - OPTIONS)
        if unknown:
            raise SystemExit(f"sbatch: unrecognized option '--{unknown[0]}'")
        if given.get("partition", "cpu") not in PARTITIONS:
            raise SystemExit(
                f"sbatch: error: invalid partition specified: {given['partition']}\n"
                "sbatch: error: Batch job submission failed: Invalid partition name specified"
            )
        self.number += 1
        array = self.number
        spooled = self.folder / f"{array}.sh"
        spooled.write_text(text, "utf-8")
        indices: list[int | None] = [None]
        if "array" in given:
            first, last = re.fullmatch(r"(\d+)-(\d+)(?:%\d+)?", given["array"]).groups()  # type: ignore[union-attr]
            indices = list(range(int(first), int(last) + 1))
        for index in indices:
            number = array if index in {None, 0} else self.number + 1
            self.number = max(self.number, number)
            self.tasks.append(Task(array, number, index, given, spooled, environment))
        return str(array)

    def squeue(self, argv: list[str], environment: dict[str, str]) -> str:
        given = dict(_option(word) for word in argv)
        names = given["name"].split(",")
        rows = []
        for task in self.tasks:
            if task.given["job-name"] in names and ("states" in given or task.state not in ENDED):
                values = {
                    "%F": task.array,
                    "%j": task.given["job-name"],
                    "%K": "N/A" if task.index is None else task.index,
                    "%T": task.state,
                    "%r": task.reason,
                }
                rows.append(re.sub(r"%\w", lambda found, values=values: str(values[found[0]]), given["format"]))
        return "\n".join(rows)

    def sacct(self, argv: list[str], environment: dict[str, str]) -> str:
        jobs = dict(_option(word) for word in argv if word.startswith("--"))["jobs"].split(",")
        return "\n".join(
            f"{task.id}|{task.given['job-name']}|{task.state}|{task.code}:0"
            for task in self.tasks
            if str(task.array) in jobs
        )

    def scancel(self, argv: list[str], environment: dict[str, str]) -> str:
        given = dict(_option(word) for word in argv if word.startswith("--"))
        named = [task.id for task in self.tasks] if "me" in given else [word for word in argv if word[:2] != "--"]
        for task in self._named(named):
            if task.state in ENDED or given.get("state", task.state) != task.state:
                continue
            if "signal" in given:
                if task.process is not None:
                    assert "batch" in given
                    task.process.send_signal(signal.Signals[f"SIG{given['signal']}"])
            elif task.state == "PENDING":
                task.state = "CANCELLED"
            else:
                self._stop(task, "CANCELLED")
        return ""

    def scontrol(self, argv: list[str], environment: dict[str, str]) -> str:
        assert argv[0] == "requeue"
        for task in self._named(argv[1:]):
            assert "requeue" in task.given
            self._stop(task, "PENDING")
        return ""

    def advance(self, argv: list[str], environment: dict[str, str]) -> str:
        for task in self._named(argv):
            task.limit = time.monotonic() + task.warning[1]
        return ""

    def restarts(self, argv: list[str], environment: dict[str, str]) -> str:
        return json.dumps({task.id: task.restarts for task in self.tasks})

    def tick(self) -> None:
        now = time.monotonic()
        for task in self.tasks:
            if task.process is not None:
                self._watch(task, now)
            elif task.state == "PENDING":
                self._try(task, now)

    def _watch(self, task: Task, now: float) -> None:
        number, before = task.warning
        if not task.signalled and now >= task.limit - before:
            task.signalled = True
            task.process.send_signal(number)
        if now >= task.limit and task.after is None:
            self._stop(task, "TIMEOUT")
        while task.stops and now >= task.stops[0][0]:
            for pid in self._processes(task):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, task.stops[0][1])
            task.stops.pop(0)
        code = task.process.poll()
        if code is None:
            return
        for pid in self._processes(task):  # the job's processes end with its script
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        task.process = None
        task.code = code
        task.state, task.reason = task.after or ("COMPLETED" if code == 0 else "FAILED"), "None"
        if task.state == "PENDING":
            task.restarts += 1
            task.not_before = now + 0.5

    def _try(self, task: Task, now: float) -> None:
        awaited = task.given.get("dependency", "").removeprefix("afterany:")
        at_once = int(task.given.get("array", "").partition("%")[2] or 10_000)
        busy = [other for other in self.tasks if other.process is not None]
        if any(str(other.array) == awaited and other.state not in ENDED for other in self.tasks):
            task.reason = "Dependency"
        elif now < task.not_before:
            task.reason = "BeginTime"
        elif sum(other.array == task.array for other in busy) >= at_once:
            task.reason = "JobArrayTaskLimit"
        elif len(busy) >= self.places:
            task.reason = "Resources"
        else:
            self._start(task, now)

    def _start(self, task: Task, now: float) -> None:
        environment = {
            **task.environment,
            "SLURM_JOB_ID": str(task.number),
            "SLURMD_NODENAME": socket.gethostname(),
            "SLURM_RESTART_COUNT": str(task.restarts),
        }
        if task.index is not None:
            environment |= {"SLURM_ARRAY_JOB_ID": str(task.array), "SLURM_ARRAY_TASK_ID": str(task.index)}
        output = task.given["output"].replace("%a", str(task.index))
        hours, minutes, seconds = map(int, task.given.get("time", "24:00:00").split(":"))
        task.limit = now + 3600 * hours + 60 * minutes + seconds
        task.state, task.reason, task.signalled, task.after, task.stops = "RUNNING", "None", False, None, []
        with Path(output).open("ab" if task.given["open-mode"] == "append" else "wb") as stream:
            task.process = subprocess.Popen(
                ["/bin/bash", str(task.script)],
                cwd=task.given["chdir"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def _stop(self, task: Task, after: str) -> None:
        now = time.monotonic()
        task.after = after
        task.stops = [(now, signal.SIGTERM), (now + KILL_WAIT_S, signal.SIGKILL)]

    def _named(self, ids: list[str]) -> Iterator[Task]:
        found = [task for task in self.tasks if task.id in ids or str(task.array) in ids]
        if ids and not found:
            raise SystemExit(f"error: Invalid job id specified: {' '.join(ids)}")
        yield from found

    def _processes(self, task: Task) -> list[int]:
        marks = {f"SLURM_JOB_ID={task.number}".encode(), f"FAKE_SLURM={self.folder}".encode()}
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if marks <= set(path.read_bytes().split(b"\0")):
                    found.append(int(path.parent.name))
        return found


def _option(word: str) -> tuple[str, str]:
    name, _, value = word.removeprefix("--").partition("=")
    return name, value


def serve(folder: Path, places: int) -> None:
    controller = Controller(folder, places)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            command, argv, environment = json.loads(self.rfile.readline())
            with controller.lock:
                try:
                    answer = [0, getattr(controller, command)(argv, environment)]
                except SystemExit as refusal:
                    answer = [1, str(refusal)]
            self.wfile.write(json.dumps(answer).encode())

    server = socketserver.ThreadingUnixStreamServer(str(folder / "socket"), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while folder.is_dir():
        with controller.lock:
            controller.tick()
        time.sleep(0.05)


def ask(folder: Path, command: str, argv: list[str]) -> tuple[int, str]:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / "socket"))
        client.sendall(json.dumps([command, argv, dict(os.environ)]).encode() + b"\n")
        with client.makefile() as stream:
            code, text = json.loads(stream.read())
    return code, text


if __name__ == "__main__":
    if Path(sys.argv[1]).is_dir():
        serve(Path(sys.argv[1]), int(sys.argv[2]))
    code, text = ask(Path(os.environ["FAKE_SLURM"]), sys.argv[1], sys.argv[2:])
    if text:
        (sys.stderr if code else sys.stdout).write(text + "\n")
    sys.exit(code)
