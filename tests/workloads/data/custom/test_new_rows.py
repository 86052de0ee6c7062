"""A reader of new rows gives the very inputs that the loader gave, from the file that the loader read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from workloads import WORKLOADS
from workloads.data.custom.new_rows import READERS, tree_of
from workloads.data.custom.rows import load
from workloads.data.custom.schema import kind_of
from workloads.data.nhanes import TABLE, _folder
from workloads.workload import Data, DataError

CPU = torch.device("cpu")


def table(folder: Path) -> dict[str, Any]:
    random = np.random.default_rng(0)
    lines = ["id,size,huge,colour,kept,y"]
    for row in range(90):
        size = "" if row % 5 == 0 else repr(float(random.normal()))
        lines.append(f"{row},{size},{row}e160,{'red' if row % 2 else 'blue'},{row % 4 == 0},{row % 9}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"type": "table", "file": str(folder / "rows.csv"), "drop": ["id"]}


def flat(folder: Path) -> dict[str, Any]:
    x = np.random.default_rng(0).normal(size=(90, 4))
    x[3, 1] = np.nan
    x[:, 2] = 7.0
    np.savez(folder / "rows.npz", x=x, y=np.arange(90) % 9)
    return {"type": "arrays", "file": str(folder / "rows.npz")}


def shaped(folder: Path) -> dict[str, Any]:
    x = np.random.default_rng(0).normal(size=(90, 2, 16)).astype(np.float32)
    x[:, 1] = 3.0
    np.savez(folder / "rows.npz", x=x, y=np.arange(90) % 9)
    return {"type": "arrays", "file": str(folder / "rows.npz"), "encoder": "conv1d"}


def one_channel(folder: Path) -> dict[str, Any]:
    np.savez(folder / "rows.npz", x=np.random.default_rng(0).normal(size=(90, 16)), y=np.arange(90) % 9)
    return {"type": "arrays", "file": str(folder / "rows.npz"), "encoder": "lstm"}


def images(folder: Path) -> dict[str, Any]:
    random = np.random.default_rng(0)
    for row in range(90):
        Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(folder / f"{row}.png")
    (folder / "rows.csv").write_text("file,y\n" + "".join(f"{row}.png,{row % 9}\n" for row in range(90)), "utf-8")
    return {"type": "images", "file": str(folder / "rows.csv"), "size": 8, "transform": "squared"}


@pytest.mark.parametrize("make", [table, flat, shaped, one_channel, images])
def test_new_rows_are_read_as_those_of_the_loader(
    tmp_path: Path, cache: Path, make: Callable[[Path], dict[str, Any]]
) -> None:
    tree = {"name": "own", "target": "y", "bin_width": 1.0, **make(tmp_path)}
    data = load(kind_of(tree).model_validate(tree), None)
    same_rows(data, Path(tree["file"]))


def test_the_quickstart_reads_new_rows_as_its_loader_does() -> None:
    same_rows(WORKLOADS["nhanes-sbp"].load(None), _folder(None) / TABLE)


def same_rows(data: Data, file: Path) -> None:
    assert data.new_rows is not None and data.drawn is not None
    tree = json.loads(json.dumps(tree_of(data.new_rows)))
    read = READERS[tree["kind"]](tree).read(file)
    for split, drawn in zip((data.train, data.val, data.test), data.drawn, strict=True):
        given = split.inputs(torch.arange(len(split.y)), CPU)
        assert torch.equal(read[torch.from_numpy(drawn.numbers)], given)


def test_an_array_of_another_shape_is_refused(tmp_path: Path) -> None:
    tree = {"name": "own", "target": "y", "bin_width": 1.0, **flat(tmp_path)}
    reader = load(kind_of(tree).model_validate(tree), None).new_rows
    assert reader is not None
    np.savez(tmp_path / "new.npz", x=np.zeros((3, 5)))
    with pytest.raises(DataError, match=r"array 'x' must be \[N, 4\]: got \[3, 5\]"):
        reader.read(tmp_path / "new.npz")
