"""Columns of a table of one's own: read, and told which rows are held out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from workloads.data.custom.schema import CustomData
from workloads.labels import Ints
from workloads.workload import DataError

SPLITS: Final = ("train", "val", "test")
SHOWN: Final = 20
"""Wrong rows that are told; a thousand more would say the same."""

Cells: TypeAlias = npt.NDArray[Any]


def read_columns(own: CustomData, path: Path, texts: tuple[str, ...] = ()) -> dict[str, Cells]:
    """Columns of a table; those of `texts` are text whatever they look like. Raises DataError."""
    converted = pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in texts})
    tabs = pyarrow.csv.ParseOptions(delimiter="\t")
    readers: dict[str, Callable[[Path], pa.Table]] = {
        ".csv": lambda p: pyarrow.csv.read_csv(p, convert_options=converted),
        ".tsv": lambda p: pyarrow.csv.read_csv(p, parse_options=tabs, convert_options=converted),
        ".parquet": pyarrow.parquet.read_table,
    }
    if path.suffix not in readers:
        raise DataError(f"{path}: a table is a file of {', '.join(readers)}")
    try:
        table = readers[path.suffix](path)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as err:
        raise DataError(f"{path}: {err}") from None
    if missing := [name for name in own.columns if name not in table.column_names]:
        raise DataError(
            *(f"{path}: column {name!r} is missing; the file has {', '.join(table.column_names)}" for name in missing)
        )
    return {
        name: table[name].to_numpy() if not pa.types.is_boolean(table[name].type) else np.asarray(table[name], float)
        for name in table.column_names
    }


def split_and_group(own: CustomData, columns: Mapping[str, Cells]) -> tuple[Cells | None, Cells | None]:
    """The columns that tell splits and groups, None where there are none."""
    return (
        None if own.split is None else np.asarray(columns[own.split]).astype(str),
        None if own.group is None else np.asarray(columns[own.group]).astype(str),
    )


def written_split(own: CustomData, split: Cells, group: Cells | None, path: Path) -> list[Ints]:
    """Rows of train, val and test as a column tells them; raises DataError, also for a group in two of them."""
    wrong = np.flatnonzero(~np.isin(split, SPLITS))
    if len(wrong):
        law = f"{own.split} must be one of {', '.join(SPLITS)}"
        raise DataError(*(f"{path}: row {row + 1}: {law}: got {str(split[row])!r}" for row in wrong[:SHOWN]))
    if group is not None:
        both = [g for g in np.unique(group) if len(np.unique(split[group == g])) > 1]
        if both:
            raise DataError(*(f"{path}: {own.group} {str(g)!r} lies in more than one split" for g in both[:SHOWN]))
    return [np.flatnonzero(split == name) for name in SPLITS]
