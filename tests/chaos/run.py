"""Fault injection: `python -m chaos.run --faults 20 --seed 1`, or `make chaos`.

A scene is a fresh storage. Its sweep is met by one fault after the other, each followed by the same command, and at the
end it must be complete and the same as an undisturbed one: every trial of the plan once, none recorded as failed, the
tables equal byte for byte. Every step has a bound. What and when is drawn from the seed; what the machine makes of it
is not repeatable, so the log tells what happened. Exit code 0 when nothing went wrong.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from chaos import servers
from chaos.clock import Clock
from chaos.faults import FAULTS, Meeting
from chaos.scene import STEP_S, TRIALS, Command, Scene, until, write
from chaos.tally import MEANING, Tally, say

WEIGHTS: Final = {"folder": 10, "tracked": 3, "mlflow": 1, "s3": 2, "clock": 1, "full": 2, "flip": 3}
"""How often a scene is of a kind."""
IN_A_SCENE: Final = 6
"""Faults of a scene at most."""
ROOM: Final = (60, 300)
"""Kilobytes of a disk that fills up: records and checkpoints of six trials need more, or just not."""


class Chaos:
    """One run: a random generator, a folder, a tally."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.chance, self.tally = folder, random.Random(seed), Tally()
        # A shell that starts this in the background has it ignore SIGINT, and sweeps would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._scenes = 0
        self._now: Scene
        undisturbed = self._scene("undisturbed")
        assert undisturbed.sweep().ended(STEP_S)
        self.tables, self.outcomes = undisturbed.tables(), undisturbed.outcomes()
        assert len(self.outcomes) == undisturbed.planned() == TRIALS

    def run(self, faults: int, kinds: Sequence[str], minutes: float) -> Tally:
        """So many faults, or as many as there is time for."""
        deadline = time.monotonic() + 60 * minutes
        possible = {kind: WEIGHTS[kind] for kind in kinds if _possible(kind)}
        while self.tally.faults.total() < faults and time.monotonic() < deadline:
            kind = self.chance.choices([*possible], [*possible.values()])[0]
            say(f"scene {self._scenes}: {kind} ({self.tally})")
            with self.tally.counted(f"scene {self._scenes}: {kind}"):
                {"full": self._full, "flip": self._flip}.get(kind, lambda: self._broken(kind, faults))()  # noqa: B023
            self._now.close()  # what an exception left behind
        return self.tally

    def _scene(self, kind: str, storage: str = "results", **environment: str) -> Scene:
        self._scenes += 1
        scene = Scene(self.folder / f"{self._scenes:03}-{kind}", storage, environment)
        scene.cpus = self.chance.randint(1, 2)
        write(scene.folder)
        if storage == "results":
            scene.storage = str(scene.folder / storage)
        self._now = scene
        return scene

    @contextlib.contextmanager
    def _opened(self, kind: str) -> Iterator[tuple[Scene, dict[str, Any]]]:
        with contextlib.ExitStack() as stack:
            if kind == "s3":
                gateway, storage, environment = stack.enter_context(servers.s3(self.folder))
                yield self._scene(kind, storage, **environment), {"server": gateway}
            elif kind == "mlflow":
                scene = self._scene(kind, TAILSWEEP_TRACKING__ENABLED="true")
                server, environment = stack.enter_context(servers.mlflow(scene.folder))
                scene.environment.update(environment)
                yield scene, {"server": server}
            elif kind == "clock":
                scene = self._scene(kind)
                clock = Clock(scene.folder)
                scene.environment.update(clock.environment)
                yield scene, {"clock": clock}
            else:
                yield self._scene(kind, TAILSWEEP_TRACKING__ENABLED=str(kind == "tracked").lower()), {}

    def _broken(self, kind: str, faults: int) -> None:
        """A scene that meets one fault after the other."""
        with self._opened(kind) as (scene, tools):
            for _ in range(self.chance.randint(1, IN_A_SCENE)):
                if self.tally.faults.total() >= faults:
                    break
                before = scene.records()
                if before.total() >= TRIALS:
                    break
                command = self._sweep(scene)
                self._moment(scene, command, before.total())
                self.chance.choice(FAULTS[kind])(Meeting(self.chance, scene, command, self.tally, tools))
                self._kept(scene, before)
            self._completed(scene)
            if kind in ("tracked", "mlflow"):
                self._tracked_once(scene, "server.db" if kind == "mlflow" else "results/mlflow.db")
            if isinstance(tools.get("clock"), Clock):
                tools["clock"].set(0)

    def _sweep(self, scene: Scene) -> Command:
        self.tally.runs += 1
        return scene.sweep()

    def _moment(self, scene: Scene, command: Command, known: int) -> None:
        """Wait for a moment at random: while it starts, or some records later."""
        more = self.chance.choice([0, 0, 1, 1, 2, 3])
        if more:
            until(lambda: command.process.poll() is not None or scene.records().total() >= known + more, STEP_S)
            time.sleep(self.chance.uniform(0, 1))
        else:
            time.sleep(self.chance.uniform(0, 12))

    def _kept(self, scene: Scene, before: Counter[str]) -> None:
        after = scene.records()
        if before - after:
            self.tally.went_wrong("lost", f"{scene.folder.name}: {before - after}")
        if doubled := [trial for trial, attempts in after.items() if attempts > 1]:
            self.tally.went_wrong("doubled", f"{scene.folder.name}: {doubled}")

    def _completed(self, scene: Scene) -> None:
        """The same command, in peace: then all must be as it is without faults."""
        command = self._sweep(scene)
        if not command.ended(STEP_S):
            command.process.kill()
            self.tally.went_wrong("hung", f"{scene.folder.name}, undisturbed: {command.said[-300:]!r}")
            return
        self._same(scene, command)

    def _same(self, scene: Scene, command: Command) -> None:
        name, outcomes = scene.folder.name, scene.outcomes()
        failed = [trial for trial, row in outcomes.items() if row[2] == '"failed"']
        if failed:
            self.tally.went_wrong("charged", f"{name}: {failed}: {command.said[-500:]!r}")
        elif command.process.returncode != 0 or "Traceback" in command.said:
            code = command.process.returncode
            self.tally.went_wrong("unclear", f"{name}, undisturbed: exit code {code}: {command.said[-1500:]!r}")
        if lost := self.outcomes.keys() - outcomes.keys():
            self.tally.went_wrong("lost", f"{name}: {lost}")
        if doubled := [trial for trial, attempts in scene.records().items() if attempts > 1]:
            self.tally.went_wrong("doubled", f"{name}: {doubled}")
        tables = scene.tables()
        told = b"cannot be read of" in (tables["table.md"] or b"")  # then tables are without them
        if outcomes.keys() - self.outcomes.keys() or (tables != self.tables and not told) or outcomes != self.outcomes:
            self.tally.went_wrong(
                "different", f"{name}: {[t for t in outcomes if outcomes[t] != self.outcomes.get(t)]}"
            )

    def _tracked_once(self, scene: Scene, database: str) -> None:
        """After `track`, MLflow has every trial once, and whole."""
        command = scene.start("track")
        if not command.ended(STEP_S) or command.process.returncode:
            self.tally.went_wrong("unclear", f"{scene.folder.name}: track: {command.said[-500:]!r}")
            command.process.kill()
            return
        ask = """
            SELECT names.value FROM runs JOIN tags AS names USING (run_uuid) JOIN tags AS kinds USING (run_uuid)
            JOIN tags AS done USING (run_uuid) WHERE names.key = 'tailsweep.name' AND kinds.key = 'tailsweep.kind'
            AND kinds.value = 'trial' AND done.key = 'tailsweep.done' AND runs.lifecycle_stage = 'active'"""
        with contextlib.closing(sqlite3.connect(scene.folder / database)) as tracked:
            runs = Counter(name for (name,) in tracked.execute(ask))
        if len(runs) < TRIALS:
            self.tally.went_wrong("lost", f"{scene.folder.name}: {len(runs)} trials in MLflow")
        if doubled := [name for name, number in runs.items() if number > 1]:
            self.tally.went_wrong("doubled", f"{scene.folder.name}: in MLflow: {doubled}")

    def _full(self) -> None:
        """A disk that fills up, and is larger when the same command comes again."""
        scene = self._scene("full")
        place = Path(scene.storage)
        place.mkdir()
        _mount("-t", "tmpfs", "-o", f"size={self.chance.randint(*ROOM)}k", "tmpfs", str(place))
        try:
            command = self._sweep(scene)
            self.tally.faults["full disk"] += 1
            Meeting(self.chance, scene, command, self.tally, {}).end(STEP_S, 4, 0)
            _mount("-o", "remount,size=64m", str(place))
            self._completed(scene)
        finally:
            subprocess.run(["umount", "-l", str(place)], check=False)

    def _flip(self) -> None:
        """Single bits of records, segments, predictions and checkpoints are flipped between two commands."""
        scene = self._scene("flip")
        command = self._sweep(scene)
        until(lambda: command.process.poll() is not None or scene.records().total() >= self._flip_at(), STEP_S)
        command.process.kill()
        command.process.wait()
        self.tally.faults["kill driver"] += 1
        time.sleep(1)  # what wrote when the driver died has ended
        files = sorted(path for path in Path(scene.storage).rglob("*") if path.suffix in (".parquet", ".pt"))
        for path in self.chance.sample(files, min(2, len(files))):
            data = bytearray(path.read_bytes())
            data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
            path.write_bytes(data)
            self.tally.faults[f"bit of a {path.parent.name.removesuffix('s')} file"] += 1
        while True:
            command = self._sweep(scene)
            if not command.ended(STEP_S):
                command.process.kill()
                self.tally.went_wrong("hung", f"{scene.folder.name}: {command.said[-300:]!r}")
                return
            named = [path for path in files if path.exists() and path.name in command.said]
            if command.process.returncode != 4 or not named:
                break
            for path in named:
                path.unlink()  # as it says
        self._same(scene, command)
        self._predictions(scene)

    def _flip_at(self) -> int:
        return 1 + self._scenes % (TRIALS - 1)

    def _predictions(self, scene: Scene) -> None:
        """Predictions are those of an undisturbed run, or `ledger verify` names the file."""
        verify = subprocess.run(
            [sys.executable, "-m", "orchestrator.cli", "ledger", "verify", scene.storage],
            capture_output=True,
            text=True,
            timeout=STEP_S,
            check=False,
        )
        for path in sorted((self.folder / "001-undisturbed/results/ledger/predictions").rglob("*.parquet")):
            other = Path(scene.storage) / path.relative_to(self.folder / "001-undisturbed/results")
            if not other.exists():
                self.tally.went_wrong("lost", f"{scene.folder.name}: {other.name}")
            elif other.read_bytes() != path.read_bytes() and path.name not in verify.stdout + verify.stderr:
                self.tally.went_wrong("different", f"{scene.folder.name}: {other.name}: {verify.stdout!r}")


def _possible(kind: str) -> bool:
    if kind == "full":
        return os.geteuid() == 0 and shutil.which("mount") is not None and sys.platform == "linux"
    return kind != "clock" or Clock.possible()


def _mount(*options: str) -> None:
    subprocess.run(["mount", *options], check=True)


def main() -> int:
    """Run it; 1 when something went wrong."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__, epilog=MEANING, formatter_class=_Plain)
    parser.add_argument("--faults", type=int, default=20, metavar="N", help="faults to inject (20)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which ones and when (0)")
    parser.add_argument("--minutes", type=float, default=60, metavar="N", help="no new scene after so long (60)")
    parser.add_argument("--kinds", default=",".join(WEIGHTS), metavar="A,B", help="scenes to choose from (all)")
    parser.add_argument("--keep", metavar="FOLDER", help="where the scenes are kept (a temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        place = Path(args.keep or folder)
        place.mkdir(parents=True, exist_ok=True)
        chaos = Chaos(place.resolve(), args.seed)
        try:
            chaos.run(args.faults, args.kinds.split(","), args.minutes)
        finally:  # also when it is interrupted
            for words in chaos.tally.words:
                say(words)
            say(str(chaos.tally))
    return 1 if chaos.tally.wrong else 0


class _Plain(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the explanations."""


if __name__ == "__main__":
    sys.exit(main())
