"""What ends a command, with which exit code, and with which message."""

import errno
import re
import reprlib
from typing import Any, Final
from unicodedata import category

REPORTED: Final = (0, 3)
"""Exit codes of a driver after which there is something to report: complete, or with some trials failed."""
MESSAGE_CHARS: Final = 2000
"""Of a message; a longer one loses its middle, for the law stands first and the way out last."""
VALUE_CHARS: Final = 200
"""Of a value in a message."""

_USER = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*://)(?:[^\s:/@?#'\"]*:[^\s'\"]*|[^\s/@?#'\"]+)@")
_PARAMETER = re.compile(
    r"(?i)(?P<name>\b[\w.-]*(?:passw(?:or)?d|pwd|secret|token|api_?key|access_?key|signature|credential)[\w.-]*=)"
    r"[^\s&'\",;]+"
)
_OF_THE_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.EFBIG})


class BadInput(Exception):
    """Input that cannot be worked with; the message names the law, the value and the way out. Exit code 2."""


class StorageFailed(Exception):
    """The storage cannot be read or written: the one failure that stops a sweep. Exit code 4."""


class ClusterFailed(Exception):
    """The cluster loses every worker that it starts: no trial's fault, so none is recorded. Exit code 3."""


class TrackingFailed(Exception):
    """The tracking server does not take what it is sent; the ledger has it all. Exit code 3."""


class Preempted(BaseException):
    """The machine is taken away (SIGTERM): trials under way leave a checkpoint, and the same command continues.

    Not an error of anything that runs, so that nothing records it as one. Exit code 143.
    """


def masked(text: str) -> str:
    """The text without passwords: what stands before the `@` of an address, and values of `password=`, `token=` ….

    >>> masked("http://ann:hunter2@host:5000/?token=abc is away")
    'http://***@host:5000/?token=*** is away'
    """
    return _PARAMETER.sub(r"\g<name>***", _USER.sub(r"\g<scheme>***@", text))


def printable(text: str) -> str:
    r"""The text with what cannot be seen written out (`\x1b`), but for spaces, line ends and tabs.

    A terminal obeys control characters; marks that turn the direction of a line hide what it says; halves of
    characters have no encoding.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else repr(c)[1:-1] for c in text)


def one_line(text: object, chars: int = MESSAGE_CHARS) -> str:
    """What is told of an error: on one line, without control characters and passwords, and at most so many characters.

    >>> one_line("a\\n  b")
    'a b'
    >>> one_line("x" * 100, 21)
    'xxxxxxxxxxxx … xxxxxx'
    """
    whole = str(text)
    if len(whole) > 4 * chars:  # what is thrown away need not be looked through
        whole = f"{whole[: 2 * chars]} … {whole[-2 * chars :]}"
    line = masked(printable(" ".join(whole.split())))
    if len(line) <= chars:
        return line
    tail = (chars - 3) // 3
    return f"{line[: chars - 3 - tail]} … {line[-tail:]}"


class _Bounded(reprlib.Repr):
    """`repr` of a few items, a few levels deep."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = VALUE_CHARS
        self.maxlong = 60
        self.maxlevel = 4

    def repr_int(self, x: int, level: int) -> str:
        """A number of more digits than Python writes is told by its size."""
        return super().repr_int(x, level) if x.bit_length() < 4096 else f"a number of {x.bit_length()} bits"


def shown(value: Any) -> str:
    """A value in a message: `repr`, cut.

    >>> shown({"a": [1, 2]})
    "{'a': [1, 2]}"
    """
    return one_line(_Bounded().repr(value), VALUE_CHARS)


def of_system(err: OSError) -> BadInput | StorageFailed:
    """What an error of the system that nobody has answered is: a disk that fails, or a path that does not do."""
    path = "" if err.filename is None else f": {shown(str(err.filename))}"
    said = f"{err.strerror or err}{path}"
    if err.errno in _OF_THE_DISK:
        return StorageFailed(f"{said}; make room, or choose another place: the same command continues")
    return BadInput(f"{said}; correct the path, or its permissions")
