"""Lines that commands write."""

import contextlib
import os
import sys
from collections.abc import Iterator

from orchestrator.errors import masked, printable


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """While this lasts, nothing is written to standard output."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        yield


def say(text: str) -> None:
    """Write a result to standard output, flushed: a reader may wait for it.

    Control characters that come with data are written out: a terminal would obey them.
    """
    text = printable(masked(text))
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def progress(text: str) -> None:
    """Write progress to standard error."""
    sys.stderr.write(f"{printable(masked(text))}\n")
