"""How a command ends: errors as one line and an exit code, none of them as a traceback."""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from socket import gaierror
from typing import Final

from orchestrator.errors import (
    BadInput,
    ClusterFailed,
    Preempted,
    StorageFailed,
    TrackingFailed,
    of_system,
    one_line,
)

COMPLETE, UNFORESEEN, BAD_INPUT, SOME_FAILED, STORAGE_FAILED, INTERRUPTED, PREEMPTED = 0, 1, 2, 3, 4, 130, 143
CUT_OFF: Final = 141


def guarded(command: Callable[[], int]) -> int:
    """The exit code of a command; what ends it early is told in one line on standard error.

    BrokenPipeError is left to the caller: nobody reads what is written any more.
    """
    try:
        return command()
    except BadInput as err:
        return _told(err, BAD_INPUT)
    except StorageFailed as err:
        return _told(f"the storage failed: {err}", STORAGE_FAILED)
    except ClusterFailed as err:
        return _told(f"the cluster failed: {err}", SOME_FAILED)
    except TrackingFailed as err:
        return _told(f"tracking failed: {err}", SOME_FAILED)
    except Preempted:
        return _told("told to stop, and saved; the same command continues", PREEMPTED)
    except KeyboardInterrupt:
        return _told("interrupted; the same command continues", INTERRUPTED)
    except BrokenPipeError:
        raise
    except MemoryError:
        return _told("this needs more memory than there is; take fewer or smaller data, or a larger machine", BAD_INPUT)
    except OSError as err:
        return _of_system(err)
    except Exception as err:
        return _unforeseen(err)


def _told(what: object, code: int) -> int:
    sys.stderr.write(f"tailsweep: {one_line(what)}\n")
    return code


def _of_system(err: OSError) -> int:
    from urllib.error import URLError  # takes a moment to import

    if isinstance(err, ConnectionError | TimeoutError | gaierror | URLError):
        return _told(f"a server must answer: {err}; the same command continues", SOME_FAILED)
    known = of_system(err)
    if isinstance(known, StorageFailed):
        return _told(f"the storage failed: {known}", STORAGE_FAILED)
    return _told(known, BAD_INPUT)


def _unforeseen(err: Exception) -> int:
    """The last guard: a fault of ours. The traceback goes into a file that only the user can read."""
    said = f"an error that nobody foresaw: {type(err).__name__}: {one_line(err, 300)}"
    try:
        handle, path = tempfile.mkstemp(prefix="tailsweep-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write("".join(traceback.format_exception(err)))
    except OSError:
        return _told(f"{said}; its traceback could not be written", UNFORESEEN)
    return _told(f"{said}; this is a fault of tailsweep: please report it, with {path}", UNFORESEEN)
