"""Programs of a cluster, like kubectl and ray: called, with refusals distinguished from failures."""

import shlex
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from orchestrator.errors import BadInput, ClusterFailed

ANSWER_S: Final = 120.0
"""Seconds after which a cluster counts as not answering, unless a call sets a longer time."""


def answer(
    command: Sequence[str], given: str | None = None, refusals: Iterable[str] = (), timeout_s: float = ANSWER_S
) -> str:
    """What a program writes to standard output.

    Raises BadInput when it is not there, or when it fails with one of `refusals` in what it says; ClusterFailed when it
    fails with anything else, or does not end.
    """
    try:
        done = subprocess.run(
            list(command), input=given, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except FileNotFoundError:
        raise missing(command[0]) from None
    except subprocess.TimeoutExpired:
        raise ClusterFailed(f"{shlex.join(command)} gave no answer in {timeout_s:g} s") from None
    if done.returncode == 0:
        return done.stdout
    said = "\n".join(filter(None, (done.stdout.strip(), done.stderr.strip()))) or f"exit code {done.returncode}"
    kind = BadInput if any(refusal in said for refusal in refusals) else ClusterFailed
    raise kind(f"{shlex.join(command)}: {said}")


def lines(command: Sequence[str]) -> Iterator[str]:
    """Lines that a program writes, as they come; closing the iterator stops the program."""
    try:
        process = subprocess.Popen(list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        raise missing(command[0]) from None
    with process:
        assert process.stdout is not None
        try:
            yield from (line.rstrip("\n") for line in process.stdout)
        finally:
            process.terminate()


def missing(program: str) -> BadInput:
    """Says that a program must be installed."""
    return BadInput(f"{program} must be on the PATH of this machine: it is what talks to the cluster; install it")
