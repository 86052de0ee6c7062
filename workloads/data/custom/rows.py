"""A data set of your own: a table, arrays or images and a target, declared in the study file, without code."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import nn

from workloads.cache import CachedSplit
from workloads.data.custom import maps as your_maps
from workloads.data.custom.columns import (
    SHOWN,
    SPLITS,
    Cells,
    read_columns,
    split_and_group,
    written_split,
)
from workloads.data.custom.files import decoded_files, names_below, weights_of
from workloads.data.custom.schema import CustomArrays, CustomData, CustomImages, CustomMaps, CustomTable
from workloads.data.features import standardise
from workloads.data.images import resized, squared
from workloads.data.split import balanced_split, grouped_split
from workloads.encoders.images import augmented
from workloads.labels import Floats, Ints, LabelGrid, Shots
from workloads.workload import Data, DataError, Origin, Split, Table, Units, Workload

WORDS: Final = 50
"""Most distinct words of a text column; one with more is an identifier or free text, and says so."""
CROPPED: Final = 14
"""Images are moved by up to this part of their size: 16 of 224 pixels, as published for faces."""
PREPARATION: Final = 1

Part: TypeAlias = Callable[[Ints], Split]
"""The split of some rows."""


@dataclass(frozen=True)
class _Raw:
    """A file as read: labels, what tells the splits, and `inputs(train)`, fitted on those rows.

    `inputs` gives the split of any rows, and a checksum of what is read besides the file; `names` are those of rows.
    """

    y: Floats
    split: Cells | None
    group: Cells | None
    inputs: Callable[[Ints], tuple[Part, str]]
    names: Sequence[str] = ()


def _table(own: CustomTable, path: Path) -> _Raw:
    columns = read_columns(own, path)
    kept = {name: values for name, values in columns.items() if name not in own.columns}
    y = _labels(path, own.target, columns[own.target])
    return _Raw(y, *split_and_group(own, columns), partial(_flat, kept, y, path))


def _flat(columns: Mapping[str, Cells], y: Floats, path: Path, train: Ints) -> tuple[Part, str]:
    """Columns as rows of numbers, scaled on the training rows."""
    numeric = _numeric(columns, path)
    if all(np.nanstd(values[train]) == 0 for values in numeric.values()):
        raise DataError(
            f"{path}: no column of inputs varies on the training rows; it has {', '.join(numeric) or 'none'}"
        )
    return _part(standardise(numeric, train), y), ""


def _part(x: Cells, y: Floats) -> Part:
    inputs, labels = torch.from_numpy(x).float(), torch.from_numpy(y.astype(np.float32))

    def part(rows: Ints) -> Table:
        picked = torch.from_numpy(rows)
        return Table(inputs[picked], labels[picked])

    return part


def _arrays(own: CustomArrays, path: Path) -> _Raw:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError) as err:
        raise DataError(f"{path}: must be an NPZ of plain arrays: {err}") from None
    if missing := [name for name in own.columns if name not in arrays]:
        raise DataError(*(f"{path}: array {name!r} is missing; the file has {', '.join(arrays)}" for name in missing))
    lengths = {name: len(arrays[name]) for name in own.columns}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: arrays must have one row each: got {lengths}")
    x = arrays[own.inputs]
    if not np.issubdtype(x.dtype, np.number):
        raise DataError(f"{path}: array {own.inputs!r} must hold numbers: got {x.dtype}")
    y = _labels(path, own.target, arrays[own.target])
    if own.named.axes == 0:
        flat = x.reshape(len(x), -1)
        made = partial(_flat, {str(number): flat[:, number] for number in range(flat.shape[1])}, y, path)
    else:
        made = partial(_shaped, _with_channels(own, path, x), y, path)
    return _Raw(y, *split_and_group(own, arrays), made)


def _with_channels(own: CustomArrays, path: Path, x: Cells) -> Cells:
    """Inputs `[N, C, …]`; one channel where the array has none."""
    axes = own.named.axes + 1
    if x.ndim not in (axes, axes - 1):
        law = "[N, C, T] or [N, T]" if axes == 3 else "[N, C, H, W] or [N, H, W]"
        raise DataError(f"{path}: encoder {own.encoder} reads {law}: array {own.inputs!r} is {list(x.shape)}")
    return x if x.ndim == axes else x[:, None]


def _shaped(x: Cells, y: Floats, path: Path, train: Ints) -> tuple[Part, str]:
    """Inputs `[N, C, …]` in their shape, every channel scaled to mean 0 and sd 1 of the training rows; gaps are 0."""
    over = (0, *range(2, x.ndim))
    seen = x[train].astype(np.float64)
    mean, sd = np.nanmean(seen, axis=over, keepdims=True), np.nanstd(seen, axis=over, keepdims=True)
    if not (sd > 0).any():
        raise DataError(f"{path}: no channel of inputs varies on the training rows; there are {x.shape[1]}")
    return _part(np.nan_to_num((x - mean) / np.where(sd > 0, sd, 1.0)), y), ""


def _images(own: CustomImages, path: Path) -> _Raw:
    columns = read_columns(own, path, (own.column,))
    y = _labels(path, own.target, columns[own.target])
    names = names_below(own.column, columns[own.column], path)
    return _Raw(y, *split_and_group(own, columns), lambda train: _decoded(own, names, y), names)


def _decoded(own: CustomImages, names: list[str], y: Floats) -> tuple[Part, str]:
    rows, place = decoded_files(own, names, TRANSFORMS[own.transform](own.size))
    labels = torch.from_numpy(y.astype(np.float32))

    def part(index: Ints) -> CachedSplit:
        picked = torch.from_numpy(index)
        return CachedSplit(rows, place[picked], labels[picked])

    return part, rows.digest


TRANSFORMS: Final = {"resized": resized, "squared": squared}
"""How images are brought to their size."""

READERS: Final[dict[str, Callable[[Any, Path], _Raw]]] = {"table": _table, "arrays": _arrays, "images": _images}
"""Kinds of files by the `type` of the declaration."""


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
        raise DataError(*(f"{path}: row {row + 1}: {target} is {labels[row]}" for row in wrong[:SHOWN]))
    return labels


def located(own: CustomData, root: Path | None) -> CustomData:
    """The declaration with absolute paths: of each as written, or below the data root; raises DataError.

    Names of weights on the hub stay as they are: every node fetches them for itself.
    """
    found: dict[str, str] = {}
    problems: list[str] = []
    for key, written in own.local.items():
        candidates = [Path(written).expanduser(), *([root / written] if root is not None else [])]
        is_there = Path.is_dir if key == "folder" else Path.is_file
        place = next((path for path in candidates if is_there(path)), None)
        if place is None:
            problems.append(
                f"{written} is missing; give its path from here, or from the data root (data: or TAILSWEEP_DATA)"
            )
        else:
            found[key] = str(place.resolve())
    if problems:
        raise DataError(*problems)
    return own.model_copy(update=found)


def _grid(own: CustomData, y: Floats, path: Path) -> LabelGrid:
    low = math.floor(y.min() / own.bin_width) * own.bin_width if own.low is None else own.low
    high = math.ceil((y.max() - low) / own.bin_width + 1e-9) * own.bin_width + low if own.high is None else own.high
    wrong = np.flatnonzero((y < low) | (y > high))
    if len(wrong):
        raise DataError(
            *(
                f"{path}: row {row + 1}: {own.target} = {y[row]:g} lies outside {low:g} … {high:g}"
                for row in wrong[:SHOWN]
            )
        )
    return LabelGrid(low, high, max(1, round((high - low) / own.bin_width)))


def _split(own: CustomData, raw: _Raw, bins: Ints, path: Path) -> list[Ints]:
    if raw.split is None:
        if raw.group is not None:
            return list(grouped_split(bins, raw.group, own.cap, own.name))
        return list(balanced_split(bins, own.cap, own.name))
    return written_split(own, raw.split, raw.group, path)


def _numeric(columns: Mapping[str, Cells], path: Path) -> dict[str, Floats]:
    """Columns of numbers; a column of words becomes one of zeros and ones for every word."""
    made: dict[str, Floats] = {}
    for name, values in columns.items():
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


def load(own: CustomData, root: Path | None) -> Data:
    """Read, check, split and scale; scaling is fitted on the training rows."""
    own = located(own, root)
    path = Path(own.file)
    raw = READERS[own.type](own, path)
    grid = _grid(own, raw.y, path)
    train, val, test = _split(own, raw, grid.bin(raw.y), path)
    empty = [name for name, rows in zip(SPLITS, (train, val, test), strict=True) if len(rows) == 0]
    if empty:
        raise DataError(
            *(f"{path}: the {name} split is empty; a bin needs three rows to be held out" for name in empty)
        )
    part, read = raw.inputs(train)
    digest = hashlib.sha256(path.read_bytes())
    digest.update(own.identity().encode())
    digest.update(read.encode())
    weights = weights_of(own) if isinstance(own, CustomImages) else None
    if weights is not None:
        digest.update(weights.read_bytes())
    data = Data(
        part(train),
        part(val),
        part(test),
        Units(float(np.median(raw.y[train])), float(raw.y[train].std()) or 1.0),
        f"{digest.hexdigest()[:16]}-{PREPARATION}",
        weights,
        describe=(lambda row: raw.names[train[row]]) if raw.names else None,
    )
    if weights is not None:
        _encoder(own, data)  # weights that do not fit are told before any training
    return data


def _encoder(own: CustomData, data: Data) -> tuple[nn.Module, int]:
    shape = data.train.inputs(torch.zeros(1, dtype=torch.long), torch.device("cpu")).shape[1:]
    try:
        return own.named.make(shape, own.hidden or own.named.hidden, data.weights)
    except ValueError as err:
        raise DataError(str(err)) from None


def _augment(own: CustomData) -> Callable[[torch.Tensor], torch.Tensor] | None:
    if not isinstance(own, CustomImages):
        return None
    return partial(augmented, names=own.augment, padding=max(1, own.size // CROPPED))


def build(own: CustomData, root: Path | None) -> Workload:
    """The workload of a declaration; raises DataError when its file cannot be read."""
    own = located(own, root)
    if isinstance(own, CustomMaps):
        return your_maps.build(own)
    path = Path(own.file)
    return Workload(
        name=own.name,
        title=own.title or own.target,
        unit=own.unit,
        origin=Origin(source=path.name, licence="yours"),
        grid=_grid(own, READERS[own.type](own, path).y, path),
        shots=Shots(own.many, own.few),
        load=lambda given: load(own, given),
        encoder=partial(_encoder, own),
        settings={"train.schedule": "cosine"},
        augment=_augment(own),
    )
