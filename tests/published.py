"""Labels of the published data sets, for tests that compare with published numbers; the files are not ours to ship."""

import csv
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

PLACES = [
    *(Path(place) for place in [os.environ.get("TAILSWEEP_DATA", "")] if place),
    Path(__file__).parents[2] / "shared" / "data",
]


def find(name: str) -> Path:
    """A data file, in TAILSWEEP_DATA or beside the repository; skips the test where it is absent."""
    for place in PLACES:
        if (place / name).is_file():
            return place / name
    pytest.skip(f"{name} is not in {' or '.join(map(str, PLACES))}")


def agedb(split: str) -> Tensor:
    """Ages of AgeDB-DIR, `[N]`."""
    with find("agedb/agedb.csv").open(newline="") as stream:
        return torch.tensor([float(row["age"]) for row in csv.DictReader(stream) if row["split"] == split])


def stsb(split: str) -> Tensor:
    """Scores of STS-B-DIR, `[N]`; quotes in the sentences do not pair up, so lines are split by hand."""
    lines = find(f"sts-b-dir/{split}_new.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return torch.tensor([float(line.split("\t")[9]) for line in lines])
