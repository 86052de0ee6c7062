"""Declarations of custom data, and the files that they name."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import torch
from torch import Tensor

from workloads.data.custom.rows import build
from workloads.data.custom.schema import CustomData, kind_of
from workloads.workload import Data, DataError, Split, rows_in

ROWS = 60
PARTS = ("train", "train", "val", "test")


def own(file: Path, **changes: Any) -> CustomData:
    """A declaration of a table with the target `y` and bins of one."""
    tree = {"name": "mine", "type": "table", "file": str(file), "target": "y", "bin_width": 1.0, **changes}
    return kind_of(tree).model_validate(tree)


def labels(rows: int = ROWS) -> list[float]:
    """Labels 0 … 4 by turns."""
    return [float(row % 5) for row in range(rows)]


def parquet(folder: Path, **columns: Any) -> Path:
    """A Parquet file of columns, with labels where none are given."""
    path = folder / "data.parquet"
    rows = len(next(iter(columns.values())))
    pyarrow.parquet.write_table(pa.table({"y": labels(rows), **columns}), path)
    return path


def csv(folder: Path, header: str, rows: list[str], suffix: str = ".csv") -> Path:
    """A text file of lines."""
    path = folder / f"data{suffix}"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def loaded(declared: CustomData) -> Data:
    """What a study loads: the workload is built first, as a study does it."""
    return build(declared, None).load(None)


def inputs(split: Split) -> Tensor:
    """All inputs of a part."""
    return split.inputs(torch.arange(rows_in(split)), torch.device("cpu"))


def told(declared: CustomData) -> tuple[str, ...]:
    """What is wrong with data, in words."""
    try:
        loaded(declared)
    except DataError as err:
        return err.problems
    raise AssertionError("the data were taken")
