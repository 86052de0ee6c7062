"""Weights by name: the hub's own client against a small hub on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from workloads.encoders.hub import named

WEIGHTS = b"weights of a network"
COMMIT = "c" * 40


Answers = tuple[dict[str, str], dict[str, str]]
THERE = ("hub:acme/net", f"hub:acme/pinned@{COMMIT}")
NOWHERE = ("hub:acme/none", "hub:", "hub:a/b/c", "hub:acme/net@other")
FETCH = """
import json
import sys
from workloads.encoders.hub import fetched

answers = {}
for name in sys.argv[1:]:
    try:
        answers[name] = str(fetched(name))
    except ValueError as err:
        answers[name] = f"ValueError: {err}"
print(json.dumps(answers))
"""


class Hub(BaseHTTPRequestHandler):
    """Knows a model under the name of its branch, and one under that of its commit."""

    def do_HEAD(self) -> None:
        known = {f"/acme/{model}/model.safetensors" for model in ("net/resolve/main", f"pinned/resolve/{COMMIT}")}
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


def fetch(names: Sequence[str], endpoint: str, home: Path) -> dict[str, str]:
    """Where each lies, or what was said; in a process of its own: the client reads where the hub is when imported."""
    where = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FETCH, *names], env={**os.environ, **where}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, str] = json.loads(done.stdout)
    return answers


@pytest.fixture(scope="module")
def first_and_later(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Answers while the hub is there, and those of a later process, without one."""
    home = tmp_path_factory.mktemp("home")
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        first = fetch((*THERE, *NOWHERE), f"http://127.0.0.1:{server.server_address[1]}", home)
        server.shutdown()
    return first, fetch(THERE, "http://127.0.0.1:9", home)


@pytest.mark.parametrize("name", THERE)
def test_weights_are_fetched_once_and_then_need_no_hub(name: str, first_and_later: Answers) -> None:
    for answers in first_and_later:
        assert Path(answers[name]).read_bytes() == WEIGHTS, answers[name]


@pytest.mark.parametrize("name", NOWHERE)
def test_a_model_that_is_not_there_is_told_with_the_way_out(name: str, first_and_later: Answers) -> None:
    said = first_and_later[0][name]
    assert said.startswith(f"ValueError: weights {name!r} must be hub:OWNER/NAME[@REVISION] of a model with a model.")
    assert said.endswith("; or download that file and name it")


def test_a_file_is_no_name() -> None:
    assert named("hub:acme/net")
    assert not named("weights/hub.safetensors")
