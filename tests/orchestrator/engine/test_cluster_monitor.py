"""A Ray that goes away, as sockets and processes of this machine; real ones are lost in test_sweep_faults.py."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.engine.cluster_monitor import Vital, alive, listening, starting, watched
from orchestrator.errors import ClusterFailed


def listen() -> tuple[socket.socket, str]:
    head = socket.create_server(("127.0.0.1", 0))
    return head, f"127.0.0.1:{head.getsockname()[1]}"


def head(address: str, gone_s: float = 0.1) -> list[Vital]:
    return [listening("its head", address, "start the cluster again", gone_s)]


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def test_a_body_is_interrupted_when_nobody_listens_any_longer() -> None:
    server, address = listen()
    reason = f"its head at {address} has not answered for 0.1 s; start the cluster again, then run the same command"
    with pytest.raises(ClusterFailed, match=reason), watched(head(address)):
        server.close()
        time.sleep(60)


def test_a_body_in_another_thread_is_interrupted_between_calls_that_wait(child: "subprocess.Popen[bytes]") -> None:
    def body() -> None:
        with watched([alive("the node", child, gone_s=50)]):
            child.kill()
            for _ in range(600):  # as Tune waits, for a while each time
                time.sleep(0.1)

    began = time.monotonic()
    with ThreadPoolExecutor(1) as pool, pytest.raises(ClusterFailed, match="the node was killed by signal 9"):
        pool.submit(body).result()
    assert time.monotonic() - began < 10


def test_a_body_that_was_left_is_not_interrupted_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(vitals: object, over: threading.Event) -> str:
        return "gone too late" if over.wait() else ""

    def body() -> None:
        with watched([]):
            pass
        for _ in range(20):
            time.sleep(0.01)

    monkeypatch.setattr("orchestrator.engine.cluster_monitor._first_gone", late)
    body()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(body).result()


def test_a_body_goes_on_while_its_head_answers_and_keeps_its_own_errors() -> None:
    server, address = listen()
    with server, pytest.raises(ZeroDivisionError), watched(head(address)):
        time.sleep(2.5)
        raise ZeroDivisionError


def test_a_process_that_is_killed_interrupts_the_body_at_once_and_is_named(child: "subprocess.Popen[bytes]") -> None:
    began = time.monotonic()
    with pytest.raises(ClusterFailed, match="the node was killed by signal 9; where memory was short, lower"):  # noqa: SIM117
        with watched([alive("the node", child, gone_s=50)]):
            child.kill()
            time.sleep(60)
    assert time.monotonic() - began < 10


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_ends_while_it_is_started_interrupts_whoever_waits_for_it() -> None:
    ended = r"the node process of Ray on this machine \(sleep\) ended while it started; run the same command again"
    with (
        pytest.raises(ClusterFailed, match=ended),
        watched([starting({"sleep": "node"})]),
        subprocess.Popen(["sleep", "60"]) as process,
    ):
        time.sleep(2.5)
        process.kill()
        time.sleep(60)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_is_stopped_may_go_on_for_a_while_and_then_counts_as_gone(
    child: "subprocess.Popen[bytes]",
) -> None:
    with watched([alive("the node", child, gone_s=5)]):
        child.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        child.send_signal(signal.SIGCONT)
    with pytest.raises(ClusterFailed, match=r"the node has been stopped for 0\.1 s"):  # noqa: SIM117
        with watched([alive("the node", child, gone_s=0.1)]):
            child.send_signal(signal.SIGSTOP)
            time.sleep(60)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_time_in_which_the_watching_process_was_stopped_itself_is_nobodys_absence() -> None:
    script = """
import os, signal, socket, time
from orchestrator.engine.cluster_monitor import listening, watched
with watched([listening("its head", "127.0.0.1:1", "start it", 3.5)]):
    time.sleep(1.5)
    print("looked once", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        time.sleep(6)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        assert process.poll() is None, "it had no time to see its head"
        process.kill()


def test_a_body_that_nothing_interrupts_takes_the_process_with_it() -> None:
    script = """
import signal, time
from orchestrator.engine.cluster_monitor import listening, watched
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
with watched([listening("its head", "127.0.0.1:1", "start it", 0.1)], leave_s=0.1):
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("tailsweep: the cluster failed: its head at 127.0.0.1:1 has not answered")
