"""The container image, as its Dockerfile says that it is made."""

import fnmatch
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile with what follows them."""
    with (ROOT / "Dockerfile").open("rb") as stream:
        structure = DockerfileParser(fileobj=stream).structure
    return [(step["instruction"], step["value"]) for step in structure if step["instruction"] != "COMMENT"]


def of(steps: list[tuple[str, str]], instruction: str) -> list[str]:
    return [value for name, value in steps if name == instruction]


def test_the_base_is_pinned_and_the_build_chooses_torch(steps: list[tuple[str, str]]) -> None:
    arguments = dict(value.split("=", 1) for value in of(steps, "ARG"))
    (base,) = of(steps, "FROM")
    assert base == "${BASE}"
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", arguments["BASE"])
    assert arguments["TORCH_INDEX"].endswith("/cpu")
    wanted = """${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} "$(grep '^torch==' constraints.txt)\""""
    assert any(wanted in run for run in of(steps, "RUN"))


def test_it_runs_as_somebody_and_tells_whether_it_can(steps: list[tuple[str, str]]) -> None:
    names = [name for name, _ in steps]
    (user,) = of(steps, "USER")
    assert int(user.split(":")[0]) > 0
    assert names.index("USER") > max(place for place, name in enumerate(names) if name in {"RUN", "COPY"})
    (check,) = of(steps, "HEALTHCHECK")
    command = json.loads(check[check.index("CMD") + 3 :])
    (start,) = of(steps, "CMD")
    assert not of(steps, "ENTRYPOINT"), "the command of a container says what it runs"
    assert command[0] == json.loads(start)[0] == "tailsweep"
    done = subprocess.run([sys.executable, "-m", "orchestrator.cli", *command[1:]], capture_output=True, check=False)
    assert done.returncode == 0


def test_what_is_copied_is_there_and_reaches_the_build(steps: list[tuple[str, str]]) -> None:
    ignored = [
        line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and not line.startswith("#")
    ]
    copied = {source.rstrip("/") for value in of(steps, "COPY") for source in shlex.split(value)[:-1]}
    for source in copied:
        assert (ROOT / source).exists(), source
        last = [rule for rule in ignored if fnmatch.fnmatch(source, rule.removeprefix("!").rstrip("/"))][-1]
        assert last.startswith("!"), f"{source} is ignored by {last}"
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]["find"]
    assert {name.rstrip("*") for name in packages["include"]} <= copied


def test_layers_leave_no_caches_and_no_secrets(steps: list[tuple[str, str]]) -> None:
    for run in of(steps, "RUN"):
        if "apt-get install" in run:
            assert "rm -rf /var/lib/apt/lists/*" in run
            assert "--no-install-recommends" in run
        if "pip install" in run and "--no-deps" not in run and "TORCH_INDEX" not in run:
            assert "--constraint constraints.txt" in run
    assert "PIP_NO_CACHE_DIR=1" in " ".join(of(steps, "ENV"))
    assert not any(re.search(r"(PASSWORD|SECRET|TOKEN|KEY)=", value) for _, value in steps)
