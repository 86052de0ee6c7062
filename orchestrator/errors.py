"""What ends a command, and with which exit code."""


class BadInput(Exception):
    """Input that cannot be worked with; the message names the law, the value and the way out. Exit code 2."""


class StorageFailed(Exception):
    """The storage cannot be read or written: the one failure that stops a sweep. Exit code 4."""


class ClusterFailed(Exception):
    """The cluster loses every worker that it starts: no trial's fault, so none is recorded. Exit code 3."""
