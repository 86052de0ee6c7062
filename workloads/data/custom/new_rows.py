"""New rows as inputs of a trained model: what was learnt of the training rows, as plain data.

Every kind is the reader of one kind of file. It is written as JSON by `tree`, and read again by `of`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from workloads.data.custom.arrays import double, read_npz, real, shape_of
from workloads.data.custom.columns import Column
from workloads.data.custom.files import decoded_files, names_below
from workloads.data.custom.inputs import channels_of, rows_of
from workloads.data.custom.schema import CustomImages
from workloads.data.custom.tables import read_table
from workloads.data.features import Scale
from workloads.data.images import resized, squared
from workloads.data.new_pairs import VectorPairs, WordPairs
from workloads.data.signal_folder import RecordingRows
from workloads.labels import Floats
from workloads.messages import brief, listed
from workloads.workload import DataError, NewRows

TRANSFORMS: Final = {"resized": resized, "squared": squared}
"""How images are brought to their size."""


@dataclass(frozen=True)
class TableRows:
    """Rows of a table: `sources` are columns of numbers (None) or of words, in order; `scales` what is made of them.

    `others` are columns that the training file had and the model does not read: a new file may have them.
    """

    sources: Mapping[str, Sequence[str] | None]
    scales: tuple[Scale, ...]
    others: tuple[str, ...] = ()
    kind: str = "table"

    @property
    def needed(self) -> list[str]:
        """Columns that a new table must have."""
        made = {scale.name for scale in self.scales}
        return [name for name, words in self.sources.items() if made & set(_made(name, words))]

    @property
    def gappy(self) -> frozenset[str]:
        """Columns of numbers that have gaps in training."""
        return frozenset(scale.name for scale in self.scales if scale.gaps) & self.sources.keys()

    def read(self, path: Path) -> Tensor:
        """Inputs `[N, F]` of a CSV, TSV or Parquet file; raises DataError for missing and foreign columns."""
        cells, _ = read_table(path, self.needed, self.others, others=True)
        return self.of_columns({name: Column(path, name, values) for name, values in cells.items()}, path)

    def of_table(self, table: pa.Table, name: str = "the table") -> Tensor:
        """The same of a table in memory."""
        path = Path(name)
        if missing := [name for name in self.needed if name not in table.column_names]:
            has = listed(table.column_names)
            raise DataError(*(f"{path}: column {brief(name)} is missing; it has {has}" for name in missing))
        known = (name for name in table.column_names if name not in self.others)
        return self.of_columns({name: Column(path, name, table[name]) for name in known}, path)

    def of_columns(self, columns: Mapping[str, Column], path: Path) -> Tensor:
        """The same of columns that were read."""
        if foreign := [name for name in columns if name not in self.sources and name not in self.others]:
            raise DataError(
                f"{path}: the model does not know {listed(foreign)}; leave such columns out. It was trained on "
                f"{listed(list(self.sources))}"
            )
        scales = {scale.name: scale for scale in self.scales}
        made: dict[str, Floats] = {}
        problems: list[str] = []
        for name in self.needed:
            try:
                made |= _columns(columns[name], self.sources[name])
            except DataError as err:
                problems += err.problems
        if problems:
            raise DataError(*problems)
        rows = rows_of(((scale, made[name]) for name, scale in scales.items()), path)
        return torch.from_numpy(rows)

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> "TableRows":
        """What `tree_of` wrote."""
        return cls(tree["sources"], tuple(Scale(**scale) for scale in tree["scales"]), tuple(tree["others"]))


def _made(name: str, words: Sequence[str] | None) -> list[str]:
    """Names of the columns that are made of one."""
    return [name] if words is None else [f"{name}={word}" for word in words]


def _columns(column: Column, words: Sequence[str] | None) -> dict[str, Floats]:
    """Columns of inputs `[N]` by name: numbers, or zeros and ones for every word; a word that is not known is a gap."""
    if words is None:
        return {column.name: column.numbers()}
    texts = np.array(column.texts(), dtype=object)
    return {f"{column.name}={word}": (texts == word).astype(np.float64) for word in words}


def sources_of(made: Mapping[str, Sequence[str]]) -> dict[str, list[str] | None]:
    """For every column the words that are made of it, from the names of what is made; None for numbers."""
    return {
        name: None if list(names) == [name] else [found.removeprefix(f"{name}=") for found in names]
        for name, names in made.items()
    }


@dataclass(frozen=True)
class ArrayRows:
    """Rows of an NPZ: the array `inputs` `[N, *shape]`, flattened by columns or scaled by channels."""

    inputs: str
    shape: tuple[int, ...]
    scales: tuple[Scale | None, ...]
    flat: bool
    kind: str = "arrays"

    def read(self, path: Path) -> Tensor:
        """Inputs `[N, …]` of an NPZ; raises DataError for an array of another shape."""
        return self.of_array(real(path, self.inputs, read_npz(path, [self.inputs])[self.inputs]), path)

    def of_array(self, x: Any, path: Path = Path("the array")) -> Tensor:
        """The same of an array in memory."""
        if x.shape[1:] != self.shape:
            raise DataError(
                f"{path}: array {brief(self.inputs)} must be [N, {str(list(self.shape))[1:]}: got {shape_of(x)}"
            )
        if not self.flat:
            x = x if len(self.shape) > 1 and self.shape[0] == len(self.scales) else x[:, None]
            return torch.from_numpy(channels_of(x, self.scales, path))
        rows = x.reshape(len(x), -1)
        at = {f"{self.inputs}[{place}]": place for place in range(rows.shape[1])}
        made = rows_of(((s, double(rows[:, at[s.name]])) for s in self.scales if s is not None), path)
        return torch.from_numpy(made)

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> "ArrayRows":
        """What `tree_of` wrote."""
        scales = tuple(None if scale is None else Scale(**scale) for scale in tree["scales"])
        return cls(tree["inputs"], tuple(tree["shape"]), scales, tree["flat"])


@dataclass(frozen=True)
class ImageRows:
    """Images that a column of a table names: files beside the table, or below `folder` of its own."""

    column: str
    size: int
    transform: str
    kind: str = "images"

    def read(self, path: Path) -> Tensor:
        """Inputs `[N, 3, size, size]`, uint8, of the files that a table names; raises DataError."""
        cells, _ = read_table(path, [self.column], (), others=False)
        names = names_below(Column(path, self.column, cells[self.column]))
        declared = {"name": "new", "type": "images", "target": "none", "bin_width": 1.0, "column": self.column}
        own = CustomImages.model_validate({**declared, "file": str(path), "size": self.size})
        rows, place = decoded_files(own, names, TRANSFORMS[self.transform](self.size, upright=True))
        return rows.read(place)

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> "ImageRows":
        """What `tree_of` wrote."""
        return cls(tree["column"], tree["size"], tree["transform"])


@dataclass(frozen=True)
class PreparedRows:
    """Rows as the encoder reads them, `x` `[N, *shape]` of an NPZ: of data sets whose own reader takes no new rows."""

    shape: tuple[int, ...]
    type: str
    kind: str = "prepared"

    def read(self, path: Path) -> Tensor:
        """Inputs `[N, *shape]`; raises DataError for an array of another shape or type."""
        return self.of_array(real(path, "x", read_npz(path, ["x"])["x"]), path)

    def of_array(self, x: Any, path: Path = Path("the array")) -> Tensor:
        """The same of an array in memory."""
        if x.shape[1:] != self.shape or str(x.dtype) != self.type:
            raise DataError(
                f"{path}: array 'x' must be {self.type} [N, {str(list(self.shape))[1:]}, as the encoder reads it: got "
                f"{x.dtype} {shape_of(x)}"
            )
        return torch.from_numpy(np.array(x))

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> "PreparedRows":
        """What `tree_of` wrote."""
        return cls(tuple(tree["shape"]), tree["type"])


READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], NewRows]]] = {
    "table": TableRows.of,
    "arrays": ArrayRows.of,
    "images": ImageRows.of,
    "prepared": PreparedRows.of,
    "recordings": RecordingRows.of,
    "pairs of words": WordPairs.of,
    "pairs of sentence vectors": VectorPairs.of,
}
"""Readers of what `tree_of` wrote, by kind."""


def tree_of(rows: Any) -> dict[str, Any]:
    """A reader of new rows as JSON has it."""
    tree: dict[str, Any] = json.loads(json.dumps(asdict(rows), allow_nan=False))
    return tree
