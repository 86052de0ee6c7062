"""SIGTERM means the same at every moment of a sweep: exit with 143, and the same command continues."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from orchestrator.engine.preemption import preempted_by_exit
from orchestrator.errors import Preempted


def exits(signum: int, frame: FrameType | None) -> None:
    """What Ray does on SIGTERM while it starts and stops."""
    sys.exit(1)


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_it_is_told_while_ray_starts_and_stops() -> None:
    with pytest.raises(Preempted), preempted_by_exit():
        signal.signal(signal.SIGTERM, exits)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


def test_ray_has_no_say_once_it_has_stopped() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with preempted_by_exit():
        signal.signal(signal.SIGTERM, exits)
    assert signal.getsignal(signal.SIGTERM) is before
