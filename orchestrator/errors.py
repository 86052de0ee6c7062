"""What ends a command, and with which exit code."""

from typing import Final

REPORTED: Final = (0, 3)
"""Exit codes of a driver after which there is something to report: complete, or with some trials failed."""


class BadInput(Exception):
    """Input that cannot be worked with; the message names the law, the value and the way out. Exit code 2."""


class StorageFailed(Exception):
    """The storage cannot be read or written: the one failure that stops a sweep. Exit code 4."""


class ClusterFailed(Exception):
    """The cluster loses every worker that it starts: no trial's fault, so none is recorded. Exit code 3."""


class Preempted(BaseException):
    """The machine is taken away (SIGTERM): trials under way leave a checkpoint, and the same command continues.

    Not an error of anything that runs, so that nothing records it as one. Exit code 143.
    """
