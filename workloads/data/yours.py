"""A data set of your own: a table or arrays and a target, declared in the study file, without code."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import torch
from torch import nn

from workloads.data.features import standardise
from workloads.data.split import balanced_split, grouped_split
from workloads.encoders.tables import mlp
from workloads.labels import Floats, Ints, LabelGrid, Shots
from workloads.workload import Data, DataError, Origin, Table, Units, Workload

SPLITS: Final = ("train", "val", "test")
WORDS: Final = 50
"""Most distinct words of a text column; one with more is an identifier or free text, and says so."""
PREPARATION: Final = 1

Cells: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Own:
    """What a study file says of a data set.

    `file` is a CSV or Parquet table (`target`, `split`, `group` name columns), or an NPZ of arrays (they name arrays,
    `inputs` the one of inputs `[N, …]`). Bins of `bin_width` start at `low` or the smallest label. Without a `split`
    of train, val and test, validation and test are drawn balanced over the bins, at most `cap` rows of each; rows of
    one `group` (a subject) never lie in two splits.
    """

    name: str
    type: str
    file: str
    target: str
    bin_width: float
    low: float | None = None
    high: float | None = None
    inputs: str = "x"
    split: str | None = None
    group: str | None = None
    drop: tuple[str, ...] = ()
    cap: int = 10
    many: int = 100
    few: int = 20
    hidden: tuple[int, ...] = (128, 64)
    title: str = ""
    unit: str = ""


@dataclass(frozen=True)
class _Raw:
    """A file as read: columns of inputs, labels, and what tells the splits."""

    columns: Mapping[str, Cells]
    y: Floats
    split: Cells | None
    group: Cells | None


def _table(own: Own, path: Path) -> _Raw:
    readers: dict[str, Callable[[Path], pa.Table]] = {
        ".csv": pyarrow.csv.read_csv,
        ".tsv": lambda p: pyarrow.csv.read_csv(p, parse_options=pyarrow.csv.ParseOptions(delimiter="\t")),
        ".parquet": pyarrow.parquet.read_table,
    }
    if path.suffix not in readers:
        raise DataError(f"{path}: a table is a file of {', '.join(readers)}")
    try:
        table = readers[path.suffix](path)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as err:
        raise DataError(f"{path}: {err}") from None
    named = [name for name in (own.target, own.split, own.group, *own.drop) if name is not None]
    if missing := [name for name in named if name not in table.column_names]:
        raise DataError(
            *(f"{path}: column {name!r} is missing; the file has {', '.join(table.column_names)}" for name in missing)
        )
    columns = {
        name: table[name].to_numpy() if not pa.types.is_boolean(table[name].type) else np.asarray(table[name], float)
        for name in table.column_names
    }
    kept = {name: values for name, values in columns.items() if name not in named}
    return _Raw(kept, _labels(path, own.target, columns[own.target]), *_told(own, columns))


def _arrays(own: Own, path: Path) -> _Raw:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError) as err:
        raise DataError(f"{path}: must be an NPZ of plain arrays: {err}") from None
    named = [name for name in (own.inputs, own.target, own.split, own.group) if name is not None]
    if missing := [name for name in named if name not in arrays]:
        raise DataError(*(f"{path}: array {name!r} is missing; the file has {', '.join(arrays)}" for name in missing))
    lengths = {name: len(arrays[name]) for name in named}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: arrays must have one row each: got {lengths}")
    flat = arrays[own.inputs].reshape(len(arrays[own.inputs]), -1)
    if not np.issubdtype(flat.dtype, np.number):
        raise DataError(f"{path}: array {own.inputs!r} must hold numbers: got {flat.dtype}")
    columns = {str(number): flat[:, number] for number in range(flat.shape[1])}
    return _Raw(columns, _labels(path, own.target, arrays[own.target]), *_told(own, arrays))


READERS: Final[dict[str, Callable[[Own, Path], _Raw]]] = {"table": _table, "arrays": _arrays}
"""Kinds of files by the `type` of the declaration."""


def _told(own: Own, columns: Mapping[str, Cells]) -> tuple[Cells | None, Cells | None]:
    return (
        None if own.split is None else np.asarray(columns[own.split]).astype(str),
        None if own.group is None else np.asarray(columns[own.group]).astype(str),
    )


def _labels(path: Path, target: str, values: Cells) -> Floats:
    """Labels `[N]`; raises DataError with every row whose label is not a number."""
    try:
        labels = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError):
        raise DataError(f"{path}: column {target!r} must hold numbers") from None
    if labels.ndim != 1:
        raise DataError(f"{path}: {target!r} must hold one number for each row: got shape {labels.shape}")
    wrong = np.flatnonzero(~np.isfinite(labels))
    if len(wrong):
        raise DataError(*(f"{path}: row {row + 1}: {target} is {labels[row]}" for row in wrong[:20]))
    return labels


def find(own: Own, root: Path | None) -> Path:
    """The file: as written, or below the data root."""
    for path in (Path(own.file).expanduser(), *([root / own.file] if root is not None else [])):
        if path.is_file():
            return path.resolve()
    raise DataError(f"{own.file} is missing; give its path from here, or from the data root (data: or TAILSWEEP_DATA)")


def _grid(own: Own, y: Floats, path: Path) -> LabelGrid:
    low = math.floor(y.min() / own.bin_width) * own.bin_width if own.low is None else own.low
    high = math.ceil((y.max() - low) / own.bin_width + 1e-9) * own.bin_width + low if own.high is None else own.high
    wrong = np.flatnonzero((y < low) | (y > high))
    if len(wrong):
        raise DataError(
            *(f"{path}: row {row + 1}: {own.target} = {y[row]:g} lies outside {low:g} … {high:g}" for row in wrong[:20])
        )
    return LabelGrid(low, high, max(1, round((high - low) / own.bin_width)))


def _split(own: Own, raw: _Raw, bins: Ints, path: Path) -> list[Ints]:
    if raw.split is None:
        if raw.group is not None:
            return list(grouped_split(bins, raw.group, own.cap, own.name))
        return list(balanced_split(bins, own.cap, own.name))
    wrong = np.flatnonzero(~np.isin(raw.split, SPLITS))
    if len(wrong):
        law = f"{own.split} must be one of {', '.join(SPLITS)}"
        raise DataError(*(f"{path}: row {row + 1}: {law}: got {str(raw.split[row])!r}" for row in wrong[:20]))
    if raw.group is not None:
        both = [g for g in np.unique(raw.group) if len(np.unique(raw.split[raw.group == g])) > 1]
        if both:
            raise DataError(*(f"{path}: {own.group} {str(g)!r} lies in more than one split" for g in both[:20]))
    return [np.flatnonzero(raw.split == name) for name in SPLITS]


def _numeric(raw: _Raw, path: Path) -> dict[str, Floats]:
    """Columns of numbers; a column of words becomes one of zeros and ones for every word."""
    made: dict[str, Floats] = {}
    for name, values in raw.columns.items():
        if np.issubdtype(values.dtype, np.number):
            made[name] = values.astype(np.float64)
            continue
        text = np.array(["" if value is None else str(value) for value in values])
        words = [word for word in np.unique(text) if word]
        if len(words) > WORDS:
            raise DataError(
                f"{path}: column {name!r} has {len(words)} distinct words, at most {WORDS} make columns; list it under "
                "drop, or turn it into numbers"
            )
        made |= {f"{name}={word}": (text == word).astype(np.float64) for word in words}
    return made


def load(own: Own, root: Path | None) -> Data:
    """Read, check, split and scale; scaling is fitted on the training rows."""
    path = find(own, root)
    raw = READERS[own.type](own, path)
    grid = _grid(own, raw.y, path)
    train, val, test = _split(own, raw, grid.bin(raw.y), path)
    empty = [name for name, rows in zip(SPLITS, (train, val, test), strict=True) if len(rows) == 0]
    if empty:
        raise DataError(
            *(f"{path}: the {name} split is empty; a bin needs three rows to be held out" for name in empty)
        )
    columns = _numeric(raw, path)
    if all(np.nanstd(values[train]) == 0 for values in columns.values()):
        raise DataError(
            f"{path}: no column of inputs varies on the training rows; it has {', '.join(columns) or 'none'}"
        )
    x = torch.from_numpy(standardise(columns, train)).float()
    y = torch.from_numpy(raw.y.astype(np.float32))

    def rows_of(index: Ints) -> Table:
        picked = torch.from_numpy(index)
        return Table(x[picked], y[picked])

    digest = hashlib.sha256(path.read_bytes())
    digest.update(repr(replace(own, file="", title="", unit="")).encode())  # where it lies changes no number
    units = Units(float(np.median(raw.y[train])), float(raw.y[train].std()) or 1.0)
    fingerprint = f"{digest.hexdigest()[:16]}-{PREPARATION}"
    return Data(rows_of(train), rows_of(val), rows_of(test), units, fingerprint)


def build(own: Own, root: Path | None) -> Workload:
    """The workload of a declaration; raises DataError when its file cannot be read."""
    path = find(own, root)
    grid = _grid(own, READERS[own.type](own, path).y, path)
    hidden: Sequence[int] = own.hidden

    def encoder(data: Data) -> tuple[nn.Module, int]:
        return mlp(data.train.inputs(torch.zeros(1, dtype=torch.long), torch.device("cpu")).shape[1], hidden)

    return Workload(
        name=own.name,
        title=own.title or own.target,
        unit=own.unit,
        origin=Origin(source=Path(own.file).name, licence="yours"),
        grid=grid,
        shots=Shots(own.many, own.few),
        load=lambda given: load(own, given),
        encoder=encoder,
        settings={"train.schedule": "cosine"},
    )
