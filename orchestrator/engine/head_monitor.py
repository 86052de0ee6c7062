"""Whether the head of a cluster still answers.

Ray waits a minute for a head that is gone, and then ends the process without a word of ours.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final, NoReturn

from orchestrator.errors import ClusterFailed

PROBE_S: Final = 1.0
GONE_S: Final = 20.0
"""So long may a head be away, for a network that is cut or a head that is restarted with its memory."""
LEAVE_S: Final = 5.0
"""So long may it take to leave a Ray without a head; its calls may hang in code that nothing interrupts."""
EXIT_CODE: Final = 3
"""Of ClusterFailed (errors.py)."""
SIGNAL: Final = signal.SIGUSR2
"""Tune takes SIGUSR1 for itself."""


@contextlib.contextmanager
def head_watched(address: str, gone_s: float = GONE_S, leave_s: float = LEAVE_S) -> Iterator[None]:
    """Interrupt the body and raise ClusterFailed when nothing listens at `address` (host:port) for `gone_s`.

    A body that is not left within `leave_s` takes the process with it: exit code 3, the reason on standard error.
    """
    host, _, port = address.rpartition(":")
    reason = (
        f"its head at {address} has not answered for {gone_s:g} s; start the cluster again (ray start --head, then the "
        "workers), then run the same command again: what is in the ledger is kept"
    )
    lost, over = threading.Event(), threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise ClusterFailed(reason)

    def watch() -> None:
        answered = time.monotonic()
        while not over.wait(PROBE_S):
            if _answers(host.strip("[]"), int(port)):
                answered = time.monotonic()
            elif time.monotonic() - answered >= gone_s:
                break
        else:
            return
        lost.set()
        if in_main:
            signal.pthread_kill(threading.main_thread().ident or 0, SIGNAL)
        if not over.wait(leave_s):
            sys.stderr.write(f"tailsweep: the cluster failed: {reason}\n")
            sys.stderr.flush()
            os._exit(EXIT_CODE)

    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(SIGNAL, interrupt) if in_main else None
    threading.Thread(target=watch, name="head", daemon=True).start()
    try:
        yield
    except BaseException as err:
        if lost.is_set():
            raise ClusterFailed(reason) from err
        raise
    finally:
        over.set()
        if in_main:
            signal.signal(SIGNAL, before or signal.SIG_DFL)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=PROBE_S).close()
    except OSError:
        return False
    return True
