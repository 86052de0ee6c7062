"""Lines that commands write."""

import sys

from orchestrator.errors import masked, printable


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
