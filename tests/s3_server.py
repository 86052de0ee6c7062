"""An S3 server in a process of its own, and a proxy before it that does to requests what networks and servers do."""

import contextlib
import http.client
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The address of a fresh S3 server."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.05)
            yield address
        finally:
            process.kill()


def bucket(address: str, through: str | None = None) -> str:
    """A storage setting for a bucket that is new there, maybe reached by another way."""
    name = f"bucket-{uuid.uuid4().hex}"
    client = boto3.client("s3", endpoint_url=address, region_name="us-east-1")
    client.create_bucket(Bucket=name)
    client.close()
    return f"s3://{name}/some/prefix?endpoint_url={through or address}"


Reply = tuple[int, list[tuple[str, str]], bytes]


def refuse(status: int, code: str) -> Callable[["Proxied"], None]:
    """Answer with an error of S3's own, without asking the server."""

    def act(request: "Proxied") -> None:
        body = f"<Error><Code>{code}</Code><Message>as ordered</Message></Error>".encode()
        request.reply((status, [("Content-Type", "application/xml")], body))

    return act


def reset(request: "Proxied") -> None:
    """Drop the connection as a dying host does."""
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.close_connection = True
    request.connection.close()


def after(act: Callable[["Proxied"], None]) -> Callable[["Proxied"], None]:
    """Let the server do what is asked, and lose its answer."""

    def both(request: "Proxied") -> None:
        request.forward()
        act(request)

    return both


def late(request: "Proxied") -> None:
    """Answer when nobody waits any more."""
    reply = request.forward()
    time.sleep(request.faults.late_s)
    with contextlib.suppress(OSError):
        request.reply(reply)


FAULTS: dict[str, Callable[["Proxied"], None]] = {
    "slow down": refuse(503, "SlowDown"),
    "internal error": refuse(500, "InternalError"),
    "conflict": refuse(409, "ConditionalRequestConflict"),
    "expired": refuse(400, "ExpiredToken"),
    "denied": refuse(403, "AccessDenied"),
    "bad gateway after": after(refuse(502, "BadGateway")),
    "reset before": reset,
    "reset after": after(reset),
    "late": late,
}


@dataclass
class Faults:
    """Which requests go wrong, and how; `choose` names a fault of FAULTS or None."""

    upstream: str
    choose: Callable[["Proxied"], str | None] = lambda request: None
    drop_headers: frozenset[str] = frozenset()
    late_s: float = 2.0
    met: list[str] = field(default_factory=list)


class Proxied(BaseHTTPRequestHandler):
    """One request on its way."""

    protocol_version = "HTTP/1.1"
    faults: Faults
    body: bytes

    def forward(self) -> Reply:
        """Ask the server."""
        connection = http.client.HTTPConnection(self.faults.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in self.faults.drop_headers}
        try:
            connection.request(self.command, self.path, self.body, headers)
            answer = connection.getresponse()
            kept = [(n, v) for n, v in answer.getheaders() if n.lower() not in {"connection", "transfer-encoding"}]
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def reply(self, reply: Reply) -> None:
        """Answer the client."""
        status, headers, body = reply
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in {name.lower() for name, _ in headers}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _handle(self) -> None:
        self.close_connection = True
        if "100-continue" in self.headers.get("Expect", ""):
            del self.headers["Expect"]
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.faults.choose(self)
        if fault is None:
            self.reply(self.forward())
        else:
            self.faults.met.append(fault)
            FAULTS[fault](self)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that went away are what this is for."""


@contextlib.contextmanager
def before(address: str) -> Iterator[tuple[str, Faults]]:
    """A proxy before a server: its address, and what it does wrong."""
    faults = Faults(address.removeprefix("http://"))
    server = _Server(("127.0.0.1", 0), type("Request", (Proxied,), {"faults": faults}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", faults
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def at_random(share: float, *names: str, seed: int = 0) -> Callable[[Proxied], str | None]:
    """Every request goes wrong with this probability, in one of the named ways."""
    generator, lock = random.Random(seed), threading.Lock()

    def choose(request: Proxied) -> str | None:
        with lock:
            return generator.choice(names) if generator.random() < share else None

    return choose


def once(*names: str, where: Callable[[Proxied], bool] = lambda request: True) -> Callable[[Proxied], str | None]:
    """The first requests that fit go wrong in these ways, one each."""
    left, lock = list(names), threading.Lock()

    def choose(request: Proxied) -> str | None:
        with lock:
            return left.pop(0) if left and where(request) else None

    return choose
