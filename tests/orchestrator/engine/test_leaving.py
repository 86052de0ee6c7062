"""Ctrl-C ends a sweep whatever its main thread waits for."""

import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import re, signal, sys, time
from orchestrator.engine.leaving import interruptible
with interruptible(leave_s={leave_s}):
    print("begun", flush=True)
    {body}
"""
SWALLOWS = """
    while True:
        try: time.sleep(60)
        except KeyboardInterrupt: pass
"""
IN_A_LOCK = """
    import ctypes
    libc, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(lock) or libc.pthread_mutex_lock(lock)
"""
"""C code that waits for ever, and that no signal brings back to Python."""


def run(body: str, leave_s: float, *moments: float) -> tuple[int, float, str]:
    """Exit code, seconds since the first SIGINT, what was said; signals are sent after these seconds."""
    script = SCRIPT.format(leave_s=leave_s, body=body)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.5)
        began = time.monotonic()
        for moment in moments:
            time.sleep(moment)
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        return process.returncode, time.monotonic() - began, said


def test_a_body_that_can_be_interrupted_is_so_as_ever() -> None:
    code, seconds, said = run("time.sleep(60)", 30.0, 0.0)
    assert "KeyboardInterrupt" in said, "Python's own end of a script that does not catch it"
    assert code == -signal.SIGINT
    assert seconds < 10


@pytest.mark.parametrize("body", [SWALLOWS, IN_A_LOCK], ids=["a body that swallows it", "a body in C code"])
def test_what_does_not_end_by_itself_is_ended_in_time_and_says_how_to_go_on(body: str) -> None:
    code, seconds, said = run(body, 1.0, 0.0)
    assert (code, said) == (130, "tailsweep: interrupted; the same command continues\n")
    assert 0.9 < seconds < 10


def test_a_second_interrupt_ends_at_once() -> None:
    code, seconds, said = run(SWALLOWS, 50.0, 0.0, 0.5)
    assert (code, said) == (130, "tailsweep: interrupted; the same command continues\n")
    assert seconds < 10


def test_a_body_that_was_left_leaves_signals_as_they_were() -> None:
    script = """
import signal
from orchestrator.engine.leaving import interruptible
with interruptible(): pass
assert signal.set_wakeup_fd(-1) == -1
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
signal.signal(signal.SIGINT, signal.SIG_IGN)
with interruptible(): assert signal.set_wakeup_fd(-1) == -1, "who ignores it goes on ignoring it"
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
