"""Reading whose fault an error is, without a Ray."""

import errno
import os

import pytest

from orchestrator.engine.faults import brief, full_disk, lost_with_its_node, reason, said
from orchestrator.engine.time_limits import Clocks
from orchestrator.errors import StorageFailed

TEXT = """Failure # 1 (occurred at 2026-01-01)
ray::TrialActor.train() (pid=1, ip=10.0.0.1)
  File "evil.py", line 3, in penalty
    def penalty(self, step): raise OSError("no device")
orchestrator.engine.faults.OSError: no device
"""


class Wrapped(Exception):
    """As Ray wraps: what ended a task is its cause."""

    def __init__(self, cause: BaseException | None, text: str = "") -> None:
        super().__init__(text)
        self.cause = cause


class Silent(Exception):
    """An exception that cannot be printed."""

    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "text", "shown"),
    [
        (Wrapped(OSError("no device")), TEXT, "OSError: no device"),
        (None, TEXT, "OSError: no device"),
        (Wrapped(ValueError("a\nb\n  Error: c")), TEXT, "ValueError: a b Error: c"),
        (Wrapped(ValueError()), TEXT, "ValueError"),
        (Wrapped(Silent()), TEXT, "Silent"),
        (None, "", "the worker was lost"),
        (
            None,
            "The actor died.\n\tpid: 3\nWorker exits unexpectedly. (1) the OOM killer\n",
            "Worker exits unexpectedly. (1) the OOM killer",
        ),
    ],
)
def test_the_reason_is_the_exceptions_own_last_line_and_not_a_line_of_source(
    error: BaseException | None, text: str, shown: str
) -> None:
    assert reason(error, text) == shown


def test_a_reason_is_one_line_of_bounded_length_without_control_characters_and_passwords() -> None:
    assert brief("a\x1b[2J\tb\ud800\r\n c") == r"a\x1b[2J b\ud800 c"
    assert brief("cannot read http://ann:hunter2@host/x") == "cannot read http://***@host/x"
    assert len(brief("x" * 10_000_000)) == 300
    assert said(KeyError("x")) == "KeyError: 'x'"


def test_a_full_disk_is_found_wherever_in_a_chain_of_errors_it_is() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x/y")
    assert str(full_disk(full)) == "cannot write /x/y: No space left on device"
    assert full_disk(Wrapped(full)) is not None
    try:
        try:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        except OSError as err:
            raise RuntimeError("writing failed") from err
    except RuntimeError as err:
        assert "quota" in str(full_disk(err)).lower()
    assert full_disk(Wrapped(StorageFailed("cannot write z: No space left on device"))) is not None
    assert full_disk(Wrapped(StorageFailed("cannot write z: Stale file handle"))) is None
    assert full_disk(OSError(errno.ENODEV, "no device")) is None
    assert full_disk(None) is None


def test_a_worker_that_died_with_its_node_is_told_from_one_that_died_alone() -> None:
    assert lost_with_its_node(RuntimeError("x\nThe actor died because its node has died. Node Id: 4"))
    assert not lost_with_its_node(RuntimeError("Worker unexpectedly exits with a connection error code 2."))
    assert not lost_with_its_node(None)


def test_limits_count_from_the_worker_and_from_the_last_report_and_are_exceeded_once() -> None:
    clocks = Clocks(trial_s=10, epoch_s=3)
    assert clocks.due(0.1)
    assert not clocks.due(0.2), "it looks now and then"
    clocks.start("a", "first", 0)
    clocks.came("a", 3)
    assert not clocks.overdue("a", 6)
    assert clocks.overdue("a", 6.1)
    assert not clocks.overdue("a", 7), "its worker is killed once"
    exceeded = clocks.exceeded("a")
    assert exceeded is not None
    assert exceeded.reason == "Timed out after 3 s in one epoch"
    clocks.stop("a")
    assert clocks.exceeded("a") is None
    clocks.start("a", "second", 20)
    for moment in range(20, 31):
        clocks.came("a", moment)
        assert not clocks.overdue("a", moment)
    assert clocks.overdue("a", 30.5)
    exceeded = clocks.exceeded("a")
    assert exceeded is not None
    assert exceeded.reason == "Timed out after 10 s"
    assert not Clocks(None, None).due(1e9)
