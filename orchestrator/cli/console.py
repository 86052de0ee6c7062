"""Lines that commands write."""

import sys


def say(text: str) -> None:
    """Write a result to standard output, flushed: a reader may wait for it."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def progress(text: str) -> None:
    """Write progress to standard error."""
    sys.stderr.write(f"{text}\n")
