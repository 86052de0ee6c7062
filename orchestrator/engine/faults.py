"""Whose fault it is that a trial ended: its own, or that of the machine around it."""

import errno
import os
import re
from typing import Final

from orchestrator.errors import StorageFailed, one_line

REASON_CHARS: Final = 300
FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk that has no room: waiting does not mend it, and no trial is to blame."""
NODE_DIED: Final = "because its node has died"
"""How Ray says that not the worker but its whole node is gone."""
QUALIFIED: Final = re.compile(r"^(?:\w+\.)+(?=\w+(?:: |$))")
"""The modules before the name of an exception's class."""


class NotReady(Exception):
    """A worker on which a trial cannot begin: its data or a plugin are not there, or not the driver's."""


def reason(error: BaseException | None, text: str) -> str:
    """An exception's own last line, `type: message`, on one line of `REASON_CHARS` at most.

    `error` is what Ray raised for a task: the exception that ended it is its `cause`. Where Ray could not carry that
    over, and for a worker that died, the last line of the printed form `text` is taken, where Python and Ray put it.
    """
    cause = getattr(error, "cause", None) or error
    if cause is not None and not type(cause).__module__.startswith("ray."):
        return brief(said(cause))
    lines = [line for line in (text if cause is None else str(error) or text).splitlines() if line.strip()]
    own = [line for line in lines if not line[0].isspace()]
    return brief(QUALIFIED.sub("", (own or lines or ["the worker was lost"])[-1]))


def said(error: BaseException) -> str:
    """`type: message` of an exception, whatever its message is made of."""
    try:
        message = str(error)
    except Exception:  # of a class of the user's own
        message = ""
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def brief(text: str) -> str:
    """A reason as the ledger keeps it: one line of `REASON_CHARS` at most, without control characters and passwords."""
    return one_line(text, REASON_CHARS)


def full_disk(error: BaseException | None) -> StorageFailed | None:
    """The failure of the storage that a full disk is, wherever in a chain of exceptions it came up."""
    link, seen = error, set[int]()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, StorageFailed) and any(os.strerror(code) in str(link) for code in FULL):
            return link
        if isinstance(link, OSError) and link.errno in FULL:
            place = f" {link.filename}" if link.filename else ""
            return StorageFailed(f"cannot write{place}: {link.strerror}")
        link = getattr(link, "cause", None) or link.__cause__ or link.__context__
    return None


def lost_with_its_node(error: BaseException | None) -> bool:
    """Whether a worker was lost because its whole node was."""
    return bool(getattr(error, "preempted", False)) or NODE_DIED in str(error)
