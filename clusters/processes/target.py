"""Drivers as processes of this machine that go on when the terminal closes: a shell script in the background."""

import contextlib
import os
import platform
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from clusters.shared.files import tail
from clusters.submission import Options, State, Submission, options
from orchestrator.errors import REPORTED, BadInput, shown
from orchestrator.storage.store import local_folder

STOPPED: Final = "stopped"


class Processes:
    """A script that starts the shards, waits for them and makes the report.

    Beside it, for every part: its process id, its log and, once it has ended, its exit code.
    """

    def __init__(self, submission: Submission, sent: Mapping[str, Any]) -> None:
        options(Options, submission.profile)
        self._submission = submission
        self._folder = local_folder(submission.storage) / submission.study.study / "drivers" / submission.name
        if submission.profile.address and submission.shards > 1:
            raise BadInput(
                f"one Ray cluster takes one driver of a study: got {submission.shards} shards on "
                f"{submission.profile.address}; Ray Tune runs as many trials as fit from one driver"
            )
        for name, reference in submission.profile.secrets.items():
            if not reference.startswith("env:"):
                raise BadInput(
                    f"profile {submission.profile.name}: a secret is env:VARIABLE on this machine: "
                    f"got {shown(reference)} for {name}"
                )
        host = sent.get("host", platform.node())
        if host != platform.node():
            raise BadInput(f"{submission.name} runs on {host}: ask there")

    def preview(self) -> str:
        """The script."""
        profile = self._submission.profile
        exports = [f"export {name}={shlex.quote(value)}" for name, value in profile.environment.items()]
        for name, reference in profile.secrets.items():
            exports.append(f': "${{{reference.removeprefix("env:")}:?must be set for {name}}}"')
            exports.append(f'export {name}="${reference.removeprefix("env:")}"')
        where = ["--address", profile.address] if profile.address else []
        starts = [
            self._part(f"shard-{number}", [*self._submission.driver(number), *where, *self._share()]) + " &"
            for number in range(self._submission.shards)
        ]
        lines = ["#!/bin/sh", f"# {self._submission.name}", *exports, f"cd {shlex.quote(str(Path.cwd()))}", *starts]
        unless = f"[ -e {shlex.quote(str(self._folder / STOPPED))} ] || "
        return "\n".join([*lines, "wait", unless + self._part("report", self._submission.reporter)]) + "\n"

    def submit(self) -> dict[str, Any]:
        """Start the script, unless it was started before."""
        self._folder.mkdir(parents=True, exist_ok=True)
        sent = {"host": platform.node(), "folder": str(self._folder)}
        script = self._folder / "run.sh"
        try:
            with script.open("x", encoding="utf-8") as stream:
                stream.write(self.preview())
        except FileExistsError:
            return sent
        process = subprocess.Popen(
            ["/bin/sh", str(script)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "run.log").open("w"),
            start_new_session=True,
        )
        (self._folder / "run.pid").write_text(str(process.pid), "utf-8")
        return sent

    def state(self) -> State:
        """Whether the script runs, and how its parts ended."""
        codes = {path.stem: path.read_text("utf-8").strip() for path in sorted(self._folder.glob("*.code"))}
        lines = tuple(f"{name}: exit code {code}" for name, code in codes.items())
        if self._alive():
            return State("running", lines)
        ended = [int(code) for code in codes.values() if code.isdigit()]
        code = next((code for code in reversed(ended) if code), 0) if ended else None  # a shard's before the report's
        if codes.get("report") in {str(code) for code in REPORTED}:
            return State("ended", lines, code)
        if (self._folder / STOPPED).exists():
            return State("stopped", lines, code)
        return State("failed", (*(lines or ("it died",)), f"see {self._folder}"), code or None)

    def logs(self, follow: bool) -> Iterator[str]:
        """Lines of all parts, by their names."""
        return tail(self._folder, self._alive, follow)

    def cancel(self) -> None:
        """SIGTERM to the drivers, not to their Rays: trials under way leave a checkpoint."""
        if self._alive():
            (self._folder / STOPPED).touch()
            for path in self._folder.glob("*.pid"):
                if path.stem != "run" and not path.with_suffix(".code").exists():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(path.read_text("utf-8")), signal.SIGTERM)

    def _part(self, name: str, command: list[str]) -> str:
        run = shlex.join([sys.executable, "-P", "-m", "orchestrator.cli", *command[1:]])
        place = shlex.quote(str(self._folder / name))
        return f'{{ sh -c \'echo $$ >"$0"; exec "$@"\' {place}.pid {run} >{place}.log 2>&1; echo $? >{place}.code; }}'

    def _share(self) -> list[str]:
        """Shards of one machine share its cores."""
        if self._submission.shards == 1:
            return []
        cores = max(1, (os.cpu_count() or 1) // self._submission.shards)
        return ["--cluster-set", f"start.num_cpus={cores}"]

    def _pid(self) -> int:
        try:
            return int((self._folder / "run.pid").read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return 0

    def _alive(self) -> bool:
        """Whether the process with the pid is this script: pids are used again."""
        pid = self._pid()
        if not pid:
            return False
        told = subprocess.run(
            ["ps", "-ww", "-p", str(pid), "-o", "stat=,args="], capture_output=True, text=True, check=False
        )
        state, _, command = told.stdout.strip().partition(" ")
        return str(self._folder) in command and not state.startswith("Z")


TARGET: Final = Processes
