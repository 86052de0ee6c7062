"""SIGTERM: the machine is taken away, and trials under way are to leave a checkpoint."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from orchestrator.errors import Preempted


@contextlib.contextmanager
def on_sigterm(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` on SIGTERM and go on: an exception out of a handler would tear calls of Ray apart.

    Only the main thread may handle signals; in another one, nothing is told.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: tell())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def preempted_by_exit() -> Iterator[None]:
    """Raise Preempted where Ray, while it starts or stops, meets SIGTERM with a handler of its own that just exits."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as err:
        raise Preempted("the machine is taken away") from err
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
