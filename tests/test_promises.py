"""A new data set is one file and one line, a new kind of cluster one folder, a new tracker one file.

Each is the one that a document shows, added to a copy of the packages and used through the command line.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from rooms import PACKAGES, ROOT
from running import HUNG_S

CODE = re.compile(r"```(?:python|yaml)\n(.*?)```", re.DOTALL)
STUDY = """
study: small
workloads: [nhanes-sbp]
recipes: {also: [l1]}
tune: {trials: 1}
evaluate: {seeds: 1}
train: {epochs: 1}
tracking: {enabled: false}
"""
SSH = """#!/bin/sh
test "$1" = me@gpu1 || { echo "ssh: Could not resolve hostname $1" >&2; exit 255; }
cd "$HOME" && exec sh -c "$2"
"""
IN_TURN = """
import json, sys
from orchestrator.cli.main import main
for words in json.loads(sys.argv[1]):
    print(f"\\0{main(words)}", flush=True)
"""


class House:
    """A copy of the packages, and a folder from which its commands are run."""

    def __init__(self, folder: Path) -> None:
        self.packages, self.work = folder / "packages", folder / "work"
        self.work.mkdir()
        for package in PACKAGES:
            shutil.copytree(ROOT / package, self.packages / package, ignore=shutil.ignore_patterns("__pycache__"))
        (self.work / "study.yaml").write_text(STUDY, encoding="utf-8")
        self.environment = {**os.environ, "PYTHONPATH": str(self.packages), "HOME": str(folder)}
        self.environment["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
        self.folder = folder

    def add(self, document: str, *places: str) -> None:
        """Write the blocks of code of a document, in its order, below the packages."""
        blocks = CODE.findall((ROOT / "docs" / document).read_text("utf-8"))
        for place, block in zip(places, blocks, strict=False):
            path = self.packages / place
            path.parent.mkdir(exist_ok=True)
            path.write_text(block, encoding="utf-8")

    def tailsweep(self, *words: str, code: int = 0) -> str:
        """What a command of the copy says."""
        command = [sys.executable, "-P", "-m", "orchestrator.cli", *words]
        done = subprocess.run(
            command, cwd=self.work, env=self.environment, capture_output=True, text=True, timeout=HUNG_S, check=False
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def in_turn(self, *commands: Sequence[str], code: int = 0) -> list[str]:
        """What each of several commands says, in one process of the copy: most of their time goes into imports."""
        script = [sys.executable, "-P", "-c", IN_TURN, json.dumps(commands)]
        done = subprocess.run(
            script,
            cwd=self.work,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=HUNG_S,
            check=False,
        )
        *parts, rest = re.split(r"\0(\d+)\n", done.stdout)
        assert (done.returncode, rest, set(parts[1::2])) == (0, "", {str(code)}), done.stdout
        return parts[::2]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def added_to(file: str, before: str, line: str, house: House) -> None:
    """Put a line before another one."""
    path = house.packages / file
    text = path.read_text("utf-8")
    assert text.count(before) == 1, f"{file} must hold {before!r} once"
    path.write_text(text.replace(before, line + before), encoding="utf-8")


@pytest.mark.slow
def test_a_data_set_is_one_file_and_one_line(house: House) -> None:
    house.add("new-data-set.md", "workloads/data/bikes.py")
    (line,) = re.findall(r"```text\n(.*\n)```", (ROOT / "docs" / "new-data-set.md").read_text("utf-8"))
    registry = house.packages / "workloads" / "__init__.py"
    registry.write_text(
        registry.read_text("utf-8").replace('    "ade20k",\n', line + '    "ade20k",\n'), encoding="utf-8"
    )

    _, listed, checked, planned = house.in_turn(
        ["data", "make-fixture", "bikes", "data"],
        ["data", "list", "--root", "data"],
        ["data", "check", "bikes", "--root", "data"],
        ["plan", "study.yaml", "--set", "workloads=[bikes]", "--set", "data=data"],
    )
    assert re.search(r"bikes +at hand +bikes rented on a day", listed)
    counts = {name: int(count) for name, count in re.findall(r"^  (train/\w+|val|test) +(\d+)", checked, re.MULTILINE)}
    assert counts == {"val": 63, "test": 63, "train/many": 440, "train/medium": 80, "train/few": 3, "train/zero": 0}
    assert "bikes/l1" in planned

    (house.work / "data" / "bikes" / "day.csv").write_text("temp,hum,windspeed,cnt\n1,2,3,four\n", encoding="utf-8")
    said = house.tailsweep("data", "check", "bikes", "--root", "data", code=2)
    assert "day.csv:2: expected numbers in cnt" in said


@pytest.mark.slow
def test_a_kind_of_cluster_is_one_folder(house: House) -> None:
    house.add("new-cluster.md", "clusters/ssh/profile.yaml", "clusters/ssh/target.py")
    (house.packages / "clusters" / "ssh" / "__init__.py").touch()
    ssh = house.folder / "ssh"
    ssh.write_text(SSH, encoding="utf-8")
    ssh.chmod(0o755)

    there = ["--cluster", "ssh", "--cluster-set", "options.host=me@gpu1"]
    nowhere, apart = house.in_turn(
        ["submit", "study.yaml", "--cluster", "ssh"], ["submit", "study.yaml", *there], code=2
    )
    assert "options.host must be set" in nowhere
    assert "me@gpu1 must reach the storage: got the folder" in apart
    command = f"[{sys.executable}, -P, -m, orchestrator.cli]"
    there += ["--cluster-set", "options.shared_folder=true", "--cluster-set", f"options.command={command}"]
    assert "sweep small --stored" in house.tailsweep("submit", "study.yaml", *there, "--dry-run")
    assert not (house.folder / ".tailsweep").exists()

    sent, again = house.in_turn(*[["submit", "study.yaml", *there]] * 2)
    assert "1 cells in 1 shards, sent" in sent and "under way already" in again
    table, deadline = house.work / "results" / "small" / "table.md", time.monotonic() + HUNG_S
    while not table.is_file() and time.monotonic() < deadline:
        time.sleep(0.5)
    while ": running" in (said := house.tailsweep("status", "study.yaml", *there)) and time.monotonic() < deadline:
        time.sleep(2)
    assert ": ended\nreport: exit code 0\nshard-0: exit code 0" in said
    assert "shard 0/1 is complete" in house.tailsweep("logs", "study.yaml", *there)
    assert table.is_file()


@pytest.mark.slow
def test_a_tracker_is_one_file(house: House) -> None:
    house.add("new-tracker.md", "orchestrator/tracking/lines.py")
    said = house.tailsweep("plan", "study.yaml", "--set", "tracking.tracker=line", code=2)
    assert "tracking.tracker is one of lines, mlflow, optuna, tensorboard, wandb: got 'line'" in said
    chosen = ("study.yaml", "--set", "tracking.enabled=true", "--set", "tracking.tracker=lines")
    house.tailsweep("sweep", *chosen)
    trials = house.work / "results" / "small" / "trials.csv"
    before = trials.read_text("utf-8")
    assert [line.split(",")[1:3] for line in before.splitlines()] == [["nhanes-sbp/l1", "completed"]] * 2
    assert "0 trials sent to" in house.tailsweep("track", *chosen)
    assert trials.read_text("utf-8") == before


def test_the_documented_profile_lists_every_option_of_its_target() -> None:
    profile, target = CODE.findall((ROOT / "docs" / "new-cluster.md").read_text("utf-8"))
    assert all(f"    {name}: " in target for name in yaml.safe_load(profile)["options"])
