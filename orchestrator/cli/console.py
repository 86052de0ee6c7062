"""Lines that commands write."""

import sys


def say(text: str) -> None:
    """What was asked for, to standard output and at once: others may wait for it."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def progress(text: str) -> None:
    """What goes on beside it, to standard error."""
    sys.stderr.write(f"{text}\n")
