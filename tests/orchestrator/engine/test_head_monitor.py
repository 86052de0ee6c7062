"""A head that goes away, on sockets of this machine; a real one is lost in test_cluster.py."""

import socket
import subprocess
import sys
import time

import pytest

from orchestrator.engine.head_monitor import head_watched
from orchestrator.errors import ClusterFailed


def listen() -> tuple[socket.socket, str]:
    head = socket.create_server(("127.0.0.1", 0))
    return head, f"127.0.0.1:{head.getsockname()[1]}"


def test_a_body_is_interrupted_when_nobody_listens_any_longer() -> None:
    head, address = listen()
    reason = f"its head at {address} has not answered for 0.1 s; start the cluster again"
    with pytest.raises(ClusterFailed, match=reason), head_watched(address, gone_s=0.1):
        head.close()
        time.sleep(60)


def test_a_body_goes_on_while_its_head_answers_and_keeps_its_own_errors() -> None:
    head, address = listen()
    with head, pytest.raises(ZeroDivisionError), head_watched(address, gone_s=0.1):
        time.sleep(2.5)
        raise ZeroDivisionError


def test_a_body_that_nothing_interrupts_takes_the_process_with_it() -> None:
    script = """
import signal, time
from orchestrator.engine.head_monitor import head_watched
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
with head_watched("127.0.0.1:1", gone_s=0.1, leave_s=0.1):
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("tailsweep: the cluster failed: its head at 127.0.0.1:1 has not answered")
