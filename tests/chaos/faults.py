"""What goes wrong, by kind of scene: each fault meets a sweep under way and says how that may end."""

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chaos.scene import END_S, STEP_S, Command, Scene, send, until
from chaos.tally import Tally, say

INTERRUPT_S: Final = 20.0
LEFT_S: Final = 90.0
"""Ray's agents of a node whose driver is dead call its head once more, which is dead too, for Ray's 60 s."""
LATE_S: Final = 5.0
"""So long may this machine take to notice an end."""
ENDINGS: Final = {
    -9: "",
    0: "",
    2: "tailsweep: the storage must be reachable and writable: ",
    3: "tailsweep: the cluster failed: ",
    4: "tailsweep: the storage failed: ",
    130: "tailsweep: interrupted",
}
"""Exit codes, and what is said with them."""


@dataclass
class Meeting:
    """A fault and the sweep that it meets."""

    chance: random.Random
    scene: Scene
    command: Command
    tally: Tally
    tools: dict[str, Any]

    def note(self, what: str) -> None:
        """Count a fault."""
        self.tally.faults[what] += 1
        say(f"    {what}")

    def end(self, seconds: float, *codes: int) -> None:
        """The sweep must end within so many seconds with one of these exit codes, and say why."""
        command, last = self.command, f"{self.scene.folder.name}/{self.command.output.name}"
        if not command.ended(seconds + LATE_S):
            self.tally.went_wrong("hung", f"{last}: {command.said[-300:]!r}")
            for pid in command.all():
                send(pid, signal.SIGKILL)
            command.process.wait()
            return
        code, said = command.process.returncode, command.said
        if code not in codes or ENDINGS[code] not in said or "Traceback" in said:
            self.tally.went_wrong("unclear", f"{last}: exit code {code}, expected {codes}: {said[-1500:]!r}")

    def victims(self, role: str) -> list[int]:
        """Processes of a role, waited for as long as the sweep runs."""
        until(lambda: self.command.process.poll() is not None or self.command.roles()[role], STEP_S)
        return self.command.roles()[role] if self.command.process.poll() is None else []


def kill(*roles: str) -> Callable[[Meeting], None]:
    """SIGKILL to processes of these roles at once."""

    def fault(met: Meeting) -> None:
        family = met.command.all()
        victims = [(role, pid) for role in roles for pid in _some(met, role)]
        hit = [role for role, pid in victims if send(pid, signal.SIGKILL)]
        for role in hit:
            met.note(f"kill {role}")
        if "driver" in hit:
            met.end(10, -9)
            if not until(lambda: not any(_there(pid) for pid in family), LEFT_S):
                left = [Path(f"/proc/{pid}/cmdline").read_bytes()[:60] for pid in family if _there(pid)]
                met.tally.went_wrong("left", f"{left}")
                for pid in family:
                    send(pid, signal.SIGKILL)
        elif {"raylet", "gcs"} & {*hit}:
            met.end(END_S, 3, 0)
        else:
            met.end(STEP_S, 0)

    return fault


def kill_some(met: Meeting) -> None:
    """SIGKILL to two or more of them at once."""
    roles = ["driver", "worker", "raylet", "gcs"]
    kill(*met.chance.sample(roles, met.chance.randint(2, 4)))(met)


def kill_workers(met: Meeting) -> None:
    """SIGKILL to a worker, whenever another record has come: twice for a trial at most."""
    for _ in range(3):
        known = sum(met.scene.records().values())
        victims = met.victims("worker")
        if not victims:
            break
        if send(met.chance.choice(victims), signal.SIGKILL):
            met.note("kill worker")
        until(lambda known=known: met.command.process.poll() is not None or met.scene.records().total() > known, STEP_S)
    met.end(STEP_S, 0)


def stop(role: str, longest: float) -> Callable[[Meeting], None]:
    """SIGSTOP to a process of this role, and SIGCONT some seconds later."""

    def fault(met: Meeting) -> None:
        hit = [pid for pid in _some(met, role) if send(pid, signal.SIGSTOP)]
        time.sleep(met.chance.uniform(0.5, longest))
        for pid in hit:
            send(pid, signal.SIGCONT)
            met.note(f"stop {role}")
        met.end(STEP_S, 0, *((3,) if role in ("raylet", "gcs") else ()))

    return fault


def stop_for_good(met: Meeting) -> None:
    """SIGSTOP to the node or the head, and nothing else: as good as dead."""
    hit = [pid for pid in _some(met, met.chance.choice(["raylet", "gcs"])) if send(pid, signal.SIGSTOP)]
    if hit:
        met.note("stop node or head for good")
    met.end(END_S if hit else STEP_S, 3, 0)
    for pid in hit:
        send(pid, signal.SIGKILL)


def interrupt(met: Meeting) -> None:
    """SIGINT, sometimes on a Ray that has just died."""
    victims = met.victims("raylet")
    if victims and met.chance.random() < 0.5:
        send(victims[0], signal.SIGKILL)
        met.note("kill raylet")
        time.sleep(met.chance.uniform(0, 0.8))
    met.command.process.send_signal(signal.SIGINT)
    met.note("interrupt")
    met.end(INTERRUPT_S, 130, 3, 0)


def another_driver(met: Meeting) -> None:
    """The same command a second time, at the same time."""
    other = met.scene.sweep()
    met.note("second driver")
    met.end(STEP_S, 0)
    Meeting(met.chance, met.scene, other, met.tally, met.tools).end(STEP_S, 0)


def another_tracker(met: Meeting) -> None:
    """`track`, while the sweep has a tracker of its own; one of them may be killed."""
    other = met.scene.start("track")
    met.note("second tracker")
    if met.chance.random() < 0.5:
        time.sleep(met.chance.uniform(0, 6))
        if send(other.process.pid, signal.SIGKILL):
            met.note("kill tracker")
    met.end(STEP_S, 0)
    Meeting(met.chance, met.scene, other, met.tally, met.tools).end(STEP_S, 0, -9)


def server(what: str, *codes: int) -> Callable[[Meeting], None]:
    """SIGKILL to a server and a new start, or SIGSTOP and SIGCONT; the sweep may end with these codes."""

    def fault(met: Meeting) -> None:
        there = met.tools["server"]
        if met.chance.random() < 0.6:
            there.kill()
            met.note(f"kill {what}")
            time.sleep(met.chance.uniform(0.2, 8))
            there.start()
        else:
            send(there.pid, signal.SIGSTOP)
            met.note(f"stop {what}")
            time.sleep(met.chance.uniform(0.2, 8))
            send(there.pid, signal.SIGCONT)
        met.end(STEP_S, *codes)

    return fault


def jump(met: Meeting) -> None:
    """The wall clock is set, forwards or back, by up to ten days, twice."""
    for _ in range(2):
        met.tools["clock"].set(met.chance.randrange(-864_000, 864_000))
        met.note("clock jump")
        time.sleep(met.chance.uniform(0, 2))
    met.end(STEP_S, 0)


ANY: Final = (
    kill_some,
    kill_some,
    kill_some,
    kill_some,
    kill("driver"),
    kill("raylet"),
    kill("gcs"),
    kill_workers,
    kill_workers,
    stop("driver", 10),
    stop("worker", 10),
    stop("raylet", 15),
    stop("gcs", 15),
    stop_for_good,
    interrupt,
    another_driver,
)
"""Faults of any sweep."""
FAULTS: Final[dict[str, tuple[Callable[[Meeting], None], ...]]] = {
    "folder": ANY,
    "tracked": (
        kill("tracker"),
        kill("driver", "tracker"),
        kill("driver"),
        stop("tracker", 10),
        another_tracker,
        another_tracker,
    ),
    "mlflow": (server("MLflow", 0), kill("driver", "tracker")),
    "s3": (server("S3", 0, 2, 4), kill("driver"), kill_workers, kill("driver", "worker")),
    "clock": (jump,),
}
"""By kind of scene; a full disk and flipped bits have scripts of their own (chaos.run)."""


def _some(met: Meeting, role: str) -> list[int]:
    """One process of a role, after a moment."""
    victims = met.victims(role)
    if role != "driver":
        time.sleep(met.chance.uniform(0, 1))
    return [met.chance.choice(victims)] if victims else []


def _there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False
