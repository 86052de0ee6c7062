"""A small table with numbers, gaps and words, and a study of it."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.study.spec import Study

ROWS = 120


def write_rows(path: Path, seed: int = 0) -> list[dict[str, Any]]:
    """A table with numbers, gaps and words, whose target leans to small values."""
    random = np.random.default_rng(seed)
    rows = []
    for row in range(ROWS):
        x, z = random.normal(size=2)
        kind = ("red", "green", "blue")[row % 3]
        y = round(float(np.exp(0.6 * x) + (kind == "red")), 3)
        rows.append(
            {"x": repr(float(x)), "z": "" if row % 7 == 0 else repr(float(z)), "kind": kind, "note": row, "y": y}
        )
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows


def of(folder: Path, **changes: Any) -> Study:
    write_rows(folder / "rows.csv")
    own = {"name": "own", "type": "table", "file": str(folder / "rows.csv"), "target": "y", "bin_width": 0.5}
    tree = {
        "study": "own",
        "workloads": [{**own, "drop": ["note"], "many": 20, "few": 5}],
        "recipes": {"also": ["l1"]},
        "tune": {"trials": 1},
        "evaluate": {"seeds": 2},
        "train": {"epochs": 2},
        "space": {},
        "storage": str(folder / "results"),
    }
    return Study.of({**tree, **changes})
