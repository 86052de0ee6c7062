"""Wait until the nodes of a starting Ray cluster have joined: `ADDRESS NODES SECONDS`; goes on with those that came.

A driver counts what fits when it starts, and would leave nodes idle that join later.
"""

import contextlib
import logging
import socket
import sys
import time

import ray


def wait(address: str, nodes: int, seconds: float) -> int:
    """Number of nodes that have joined, 0 when the head does not answer in time."""
    deadline = time.monotonic() + seconds
    host, _, port = address.rpartition(":")
    while not _listens(host, int(port)):
        if time.monotonic() > deadline:
            return 0
        time.sleep(1)
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    while (joined := sum(bool(node["Alive"]) for node in ray.nodes())) < nodes and time.monotonic() < deadline:
        time.sleep(1)
    return joined


def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


if __name__ == "__main__":
    joined = wait(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    sys.stderr.write(f"{joined} of {sys.argv[2]} nodes joined the Ray cluster at {sys.argv[1]}\n")
    sys.exit(0 if joined else 3)
