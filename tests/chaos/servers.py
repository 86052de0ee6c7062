"""Servers that can be killed and started again with what they knew."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from s3_server import CREDENTIALS, bucket, free_port, serving


class Server:
    """A command that listens on a port of this machine."""

    def __init__(self, port: int, command: list[str], folder: Path) -> None:
        self.port, self._command, self._folder = port, command, folder
        self.start()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self._command} does not answer on port {self.port}")

    def kill(self) -> None:
        """SIGKILL, to it and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[tuple[Server, str, dict[str, str]]]:
    """A way to an S3 server that can be killed; the storage behind it, and the environment."""
    with serving() as address:
        upstream, port = address.rpartition(":")[2], free_port()
        gateway = Server(port, [sys.executable, "-m", "chaos.gateway", str(port), upstream], folder)
        try:
            os.environ.update(CREDENTIALS)
            yield gateway, bucket(address, f"http://127.0.0.1:{port}"), dict(CREDENTIALS)
        finally:
            gateway.kill()


@contextlib.contextmanager
def mlflow(folder: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    """An MLflow server with a database of its own."""
    port = free_port()
    options = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--host", "127.0.0.1", "--port", str(port)]
    server = Server(port, [sys.executable, "-m", "mlflow", "server", "--workers", "1", *options], folder)
    try:
        yield server, {"TAILSWEEP_TRACKING__URI": f"http://127.0.0.1:{port}"}
    finally:
        server.kill()
