"""Custom images in a study: real digits as PNG files, and what is shown while they are decoded."""

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from rich.console import Console

from builders import study
from orchestrator.api import outcome
from orchestrator.ledger.ledger import Ledger
from running import HUNG_S
from workloads import WORKLOADS


def write_digits(folder: Path, rows: int) -> dict[str, Any]:
    """Real 28×28 digits as PNG files, the share of ink in percent the target; returns the declaration.

    Most digits have much the same ink, few have little or a lot: a tail at both ends.
    """
    data = WORKLOADS["mnist5k-lt"].load(None)
    (folder / "digits").mkdir(parents=True)
    lines = ["image,ink"]
    for number in range(rows):
        image = (data.train.inputs(torch.tensor([number]), torch.device("cpu"))[0, 0] * 255).round().numpy()
        Image.fromarray(image.astype(np.uint8)).save(folder / "digits" / f"{number:04d}.png")
        lines.append(f"{number:04d}.png,{image.mean() / 2.55:.3f}")
    (folder / "digits.csv").write_text("\n".join(lines) + "\n")
    return {
        "name": "ink",
        "type": "images",
        "file": "digits.csv",
        "folder": "digits",
        "column": "image",
        "target": "ink",
        "unit": "%",
        "bin_width": 1,
        "size": 28,
        "augment": ["crop", "flip"],
    }


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of workloads that a test may enter something into."""
    monkeypatch.setattr("orchestrator.study.cells.WORKLOADS", dict(WORKLOADS))
    monkeypatch.setattr("orchestrator.study.cells._DECLARED", {})


@pytest.mark.usefixtures("registry", "cache")
def test_decoding_is_shown_while_it_lasts_and_not_again(tmp_path: Path) -> None:
    made = study(workloads=[write_digits(tmp_path, 120)], data=str(tmp_path), storage=str(tmp_path / "results"))

    def shown() -> str:
        console = Console(file=io.StringIO(), force_terminal=True, width=120)
        outcome(made, console=console)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    assert "decoding into the cache, once for this node" in (first := shown())
    assert "120/120" in first
    assert shown() == ""


def sweep(folder: Path, *args: str) -> Sequence[dict[str, Any]]:
    """Run the command line, and return the evaluated records."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", "sweep", str(folder / "study.yaml"), *args],
        capture_output=True,
        text=True,
        timeout=HUNG_S,
        env={**os.environ, "TAILSWEEP_CACHE": str(folder / "cache")},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = Ledger(str(folder / "results")).read("evaluate").to_pylist()
    return found


@pytest.mark.long
def test_a_sweep_on_real_digits_as_images_learns_their_ink(tmp_path: Path) -> None:
    tree = {
        "study": "digits",
        "workloads": [write_digits(tmp_path, 1100)],
        "recipes": {"also": ["l1", "l1 + lds"]},
        "tune": {"trials": 1},
        "evaluate": {"seeds": 2},
        "train": {"epochs": 8, "batch_size": 64, "lr": 0.003},
        "storage": str(tmp_path / "results"),
        "data": str(tmp_path),
        "tracking": {"enabled": False},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tree))
    records = sweep(tmp_path)
    assert len(records) == 4
    scores = [{(s["metric"], s["region"]): s for s in record["test"]} for record in records]
    assert all(score["mae", "few"]["count"] >= 20 for score in scores)
    # Always saying the middle errs by more than 5 on these rows.
    assert all(score["mae", "all"]["value"] < 2 for score in scores)
