"""Leaving a process whose main thread may hang in code that nothing interrupts."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final, NoReturn

INTERRUPTED: Final = 130
LEAVE_S: Final = 12.0
"""So long may a sweep take to end after Ctrl-C: letting go of Ray takes some seconds on a busy machine."""
SHOW_CURSOR: Final = "\x1b[?25h"


def leave(code: int, words: str) -> NoReturn:
    """End this process now, with an exit code and words on standard error.

    The Ray of this process ends with it: its processes are bound to this one's life.
    """
    with contextlib.suppress(Exception):
        if sys.stdout.isatty():
            sys.stdout.write(SHOW_CURSOR)  # the live table hides it
        sys.stdout.flush()
    with contextlib.suppress(Exception):
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()
    os._exit(code)


@contextlib.contextmanager
def interruptible(leave_s: float = LEAVE_S) -> Iterator[None]:
    """End the body after Ctrl-C, whatever it waits for.

    The first SIGINT raises KeyboardInterrupt, as ever; a body that is not left `leave_s` later, or a second SIGINT,
    ends the process at once with exit code 130. Signals are heard by a thread, since Python's own handlers wait for the
    main thread. Where SIGINT is not Python's (ignored, as for a background job, or handled by a program around this),
    and outside of the main thread, nothing is changed.
    """
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours or threading.current_thread() is not threading.main_thread():
        yield
        return
    hear, tell = socket.socketpair()
    tell.setblocking(False)

    def listen() -> None:
        heard, deadline = 0, 0.0
        while heard < 2:
            try:
                data = hear.recv(64)
            except TimeoutError:
                break
            if not data:
                return  # the body was left
            heard += data.count(signal.SIGINT)
            if heard:
                deadline = deadline or time.monotonic() + leave_s
                hear.settimeout(max(0.01, deadline - time.monotonic()))
        leave(INTERRUPTED, "tailsweep: interrupted; the same command continues")

    before = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, name="interrupts", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        tell.close()
        listener.join()
        hear.close()
