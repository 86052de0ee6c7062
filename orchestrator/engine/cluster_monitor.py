"""Whether the Ray that a sweep runs on still lives: its head, and the node of this machine.

Ray waits a minute for a head that is gone, and then ends the process without a word of ours; for a node of its own that
is gone it waits for ever.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from orchestrator.engine.leaving import leave
from orchestrator.errors import ClusterFailed

PROBE_S: Final = 1.0
ASLEEP_S: Final = 2.0
"""What a look may come late; one that is later found this process asleep."""
GONE_S: Final = 20.0
"""So long may a head be away, for a network that is cut or a head that is restarted with its memory."""
LEAVE_S: Final = 15.0
"""So long may it take to leave a Ray without a head; its calls may hang in code that nothing interrupts."""
EXIT_CODE: Final = 3
"""Of ClusterFailed (errors.py)."""
SIGNAL: Final = signal.SIGUSR2
"""Tune takes SIGUSR1 for itself."""
AGAIN: Final = "run the same command again: what is in the ledger is kept"


@dataclass(frozen=True)
class Vital:
    """Something without which a sweep cannot go on.

    `state` says what is wrong with it, or nothing; `gone_s` is how long that may last, 0 where nothing brings it back.
    """

    state: Callable[[], str]
    gone_s: Callable[[], float]
    way_out: str


def listening(name: str, address: str, way_out: str, gone_s: float = GONE_S) -> Vital:
    """A server at `host:port`; it may be away for `gone_s`."""
    host, _, port = address.rpartition(":")

    def state() -> str:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_S).close()
        except OSError:
            return f"{name} at {address} has not answered for {gone_s:g} s"
        return ""

    return Vital(state, lambda: gone_s, f"{way_out}, then {AGAIN}")


def alive(name: str, process: "subprocess.Popen[bytes]", gone_s: float = GONE_S) -> Vital:
    """A process that this one started: dead it stays, stopped it may be for `gone_s`."""

    def state() -> str:
        code = process.poll()
        if code is not None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            hint = "; where memory was short, lower resources.concurrent" if code == -signal.SIGKILL else ""
            return f"{name} {how}{hint}"
        return f"{name} has been stopped for {gone_s:g} s" if _state(process.pid) == "T" else ""

    return Vital(state, lambda: 0.0 if process.poll() is not None else gone_s, AGAIN)


def starting(kinds: Mapping[str, str], gone_s: float = GONE_S) -> Vital:
    """Processes by these names that this one starts while it is watched, as far as this system tells.

    Whoever starts them may wait for one that is gone, and has not told yet which they are.
    """
    seen: dict[int, str] = {}

    def dead() -> str:
        return next((name for pid, name in seen.items() if _state(pid) in {"", "Z"}), "")

    def state() -> str:
        seen.update(_children(kinds))
        if name := dead():
            return f"the {kinds[name]} process of Ray on this machine ({name}) ended while it started"
        stopped = next((name for pid, name in seen.items() if _state(pid) == "T"), "")
        return f"the {kinds[stopped]} process of Ray has been stopped for {gone_s:g} s" if stopped else ""

    return Vital(state, lambda: 0.0 if dead() else gone_s, AGAIN)


def _children(names: Container[str]) -> dict[int, str]:
    """Processes that this one started, by id, whose name is one of these."""
    found: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            name, parent = _told(path)[0], int(_told(path)[2])
            if parent == os.getpid() and name in names:
                found[int(path.parent.name)] = name
    return found


def _told(stat: Path) -> tuple[str, str, str]:
    """Name, state and parent of a process; raises OSError where it is gone."""
    before, _, rest = stat.read_text("utf-8", errors="replace").rpartition(")")
    state, parent = rest.split()[:2]
    return before.partition("(")[2], state, parent


def _state(pid: int) -> str:
    """The letter of a process's state: `T` stopped, `Z` ended; empty where it is gone, or where nothing is told."""
    try:
        return _told(Path(f"/proc/{pid}/stat"))[1]
    except OSError:
        return ""


@contextlib.contextmanager
def watched(vitals: Sequence[Vital], leave_s: float = LEAVE_S) -> Iterator[None]:
    """Interrupt the body and raise ClusterFailed when one of `vitals` is gone; once it was left, nothing is raised.

    Signals interrupt the main thread only; in another one (`stream`), Python raises the error when a call of C returns.
    A body that is not left within `leave_s` takes the process with it: exit code 3, the reason on standard error.
    """
    lost: list[str] = []
    over, telling = threading.Event(), threading.Lock()

    class Lost(ClusterFailed):
        def __init__(self) -> None:
            super().__init__(lost[0])

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise Lost

    def watch() -> None:
        reason = _first_gone(vitals, over)
        with telling:
            if over.is_set():
                return
            lost.append(reason)
            if in_main:
                signal.pthread_kill(body, SIGNAL)
            else:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(body), ctypes.py_object(Lost))
        if not over.wait(leave_s):
            leave(EXIT_CODE, f"tailsweep: the cluster failed: {reason}")

    in_main, body = threading.current_thread() is threading.main_thread(), threading.get_ident()
    before = signal.signal(SIGNAL, interrupt) if in_main else None
    threading.Thread(target=watch, name="cluster", daemon=True).start()
    try:
        try:
            yield
        finally:
            with telling:  # an error that was sent is raised here at the latest, and none is sent after it
                over.set()
    except BaseException as err:
        if lost and not isinstance(err, KeyboardInterrupt):
            raise ClusterFailed(lost[0]) from err
        raise
    finally:
        over.set()
        if in_main:
            signal.signal(SIGNAL, before or signal.SIG_DFL)


def _first_gone(vitals: Sequence[Vital], over: threading.Event) -> str:
    """Wait until a vital is gone, and say which; empty when `over` comes first.

    Time in which this process did not run itself (a machine asleep, SIGSTOP) does not count as an absence.
    """
    looked = time.monotonic()
    well = [looked] * len(vitals)
    while not over.wait(PROBE_S):
        now = time.monotonic()
        unseen = now - looked - PROBE_S
        asleep = unseen if unseen > ASLEEP_S else 0.0
        for number, vital in enumerate(vitals):
            state = vital.state()
            if not state:
                well[number] = time.monotonic()
                continue
            well[number] += asleep
            if time.monotonic() - well[number] >= vital.gone_s():
                return f"{state}; {vital.way_out}"
        looked = time.monotonic()
    return ""
