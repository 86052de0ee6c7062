"""Weights by name: the hub's own client against a small hub on this machine."""

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from workloads.encoders.hub import named

WEIGHTS = b"weights of a network"
COMMIT = "c" * 40


class Hub(BaseHTTPRequestHandler):
    """Knows one model, under the name of its branch and under that of its commit."""

    def do_HEAD(self) -> None:
        known = {f"/acme/net/resolve/{revision}/model.safetensors" for revision in ("main", COMMIT)}
        there = self.path in known
        self.send_response(200 if there else 404)
        self.send_header("Content-Length", str(len(WEIGHTS) if there else 0))
        if there:
            self.send_header("ETag", f'"{hashlib.sha256(WEIGHTS).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
        else:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(WEIGHTS)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def fetch(name: str, endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the client reads where the hub is when it is imported."""
    script = f"from workloads.encoders.hub import fetched; print(fetched({name!r}))"
    where = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **where}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["hub:acme/net", f"hub:acme/net@{COMMIT}"])
def test_weights_are_fetched_once_and_then_need_no_hub(name: str, hub: str, tmp_path: Path) -> None:
    for endpoint in (hub, "http://127.0.0.1:9"):
        done = fetch(name, endpoint, tmp_path)
        assert done.returncode == 0, done.stderr
        assert Path(done.stdout.strip()).read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["hub:acme/none", "hub:", "hub:a/b/c", "hub:acme/net@other"])
def test_a_model_that_is_not_there_is_told_with_the_way_out(name: str, hub: str, tmp_path: Path) -> None:
    said = fetch(name, hub, tmp_path).stderr.splitlines()[-1]
    assert said.startswith(f"ValueError: weights {name!r} must be hub:OWNER/NAME[@REVISION] of a model with a model.")
    assert said.endswith("; or download that file and name it")


def test_a_file_is_no_name() -> None:
    assert named("hub:acme/net")
    assert not named("weights/hub.safetensors")
