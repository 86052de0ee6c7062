"""A data set of your own: a table, arrays or images and a target, declared in the study file, without code."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from workloads.cache import CachedSplit
from workloads.data.custom import maps as your_maps
from workloads.data.custom.arrays import double, read_npz, real
from workloads.data.custom.columns import SPLITS, Texts, column_of, group_of, read_columns, split_of, written_split
from workloads.data.custom.files import decoded_files, names_below, weights_of
from workloads.data.custom.frozen import modules_of, of_images, of_texts
from workloads.data.custom.grid import grid_of
from workloads.data.custom.inputs import Fitted, flat, shaped
from workloads.data.custom.new_rows import TRANSFORMS, ArrayRows, ImageRows, TableRows, sources_of
from workloads.data.custom.notes import Notes
from workloads.data.custom.schema import CustomArrays, CustomData, CustomImages, CustomMaps, CustomTable, CustomText
from workloads.data.split import balanced_split, grouped_split
from workloads.encoders.images import augmented
from workloads.labels import Floats, Ints, LabelGrid, Shots
from workloads.messages import brief_path
from workloads.workload import Data, DataError, Drawn, NewRows, Origin, Units, Workload

CROPPED: Final = 14
"""Images are moved by up to this part of their size: 16 of 224 pixels, as published for faces."""
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""
FOLDERS: Final = ("folder", "features")
"""Keys of a declaration that name folders."""
ANEW: Final = 2
"""The preparation of files that the first one read wrongly, and of images, which it did not turn upright."""


@dataclass(frozen=True)
class _Raw:
    """A file as read: labels, what tells the splits, and `inputs(train)`, fitted on those rows.

    `names` are those of rows; `notes` what is worth a word to the person who asked; `new_rows(fitted)` reads others.
    """

    y: Floats
    split: Texts | None
    group: Texts | None
    inputs: Callable[[Ints], Fitted]
    notes: Notes
    new_rows: Callable[[Fitted], NewRows | None]
    names: Sequence[str] = ()


def _table(own: CustomTable, path: Path) -> _Raw:
    columns, notes = read_columns(own, path)
    y = columns[own.target].labels()
    made: list[tuple[str, Floats]] = []
    words: set[str] = set()
    sources: dict[str, list[str]] = {}
    problems: list[str] = []
    for name in (name for name in columns if name not in own.columns):
        try:
            found = columns[name].inputs(notes)
        except DataError as err:
            problems += err.problems
            continue
        made += found
        sources[name] = [word for word, _ in found]
        words |= {word for word, _ in found if word != name}
    if problems:
        raise DataError(*problems)
    group = group_of(own, columns, notes)
    new_rows = partial(_table_rows, sources_of(sources), tuple(own.columns))
    return _Raw(y, split_of(own, columns), group, partial(flat, made, words, y, path, notes), notes, new_rows)


def _table_rows(sources: dict[str, list[str] | None], others: tuple[str, ...], fitted: Fitted) -> NewRows:
    return TableRows(sources, fitted.used, others)


def _arrays(own: CustomArrays, path: Path) -> _Raw:
    arrays = read_npz(path, own.columns)
    x = real(path, own.inputs, arrays[own.inputs])
    columns = {name: column_of(path, name, arrays[name]) for name in own.columns if name != own.inputs}
    lengths = {own.inputs: len(x)} | {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{path}: arrays must have one row each: got {lengths}")
    y = columns[own.target].labels()
    if own.named.axes == 0:
        rows = x.reshape(len(x), -1)
        cells = ((f"{own.inputs}[{at}]", double(rows[:, at])) for at in range(rows.shape[1]))
        made = partial(flat, cells, ())
    else:
        made = partial(shaped, _with_channels(own, path, x))
    notes = Notes()
    group = group_of(own, columns, notes)
    flattened, shape = own.named.axes == 0, tuple(x.shape[1:])
    return _Raw(
        *(y, split_of(own, columns), group, partial(made, y, path, notes), notes),
        lambda fitted: ArrayRows(own.inputs, shape, fitted.scales, flattened),
    )


def _with_channels(own: CustomArrays, path: Path, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Inputs `[N, C, …]`; one channel where the array has none."""
    axes = own.named.axes + 1
    if x.ndim not in (axes, axes - 1):
        law = "[N, C, T] or [N, T]" if axes == 3 else "[N, C, H, W] or [N, H, W]"
        raise DataError(f"{path}: encoder {own.encoder} reads {law}: array {own.inputs!r} is {list(x.shape)}")
    return x if x.ndim == axes else x[:, None]


def _images(own: CustomImages, path: Path) -> _Raw:
    columns, notes = read_columns(own, path)
    y = columns[own.target].labels()
    names = names_below(columns[own.column])
    notes.anew = True
    group = group_of(own, columns, notes)
    if own.features is not None:
        made = partial(of_images, own, names, y, notes)
        return _Raw(y, split_of(own, columns), group, made, notes, _not_read, names)
    if own.named.weights and own.weights is None:
        notes.add(f"{own.encoder} starts from random weights; `weights` names a file of others")
    reader = ImageRows(own.column, own.size, own.transform)
    return _Raw(
        *(y, split_of(own, columns), group, lambda train: _decoded(own, names, y), notes), lambda fitted: reader, names
    )


def _decoded(own: CustomImages, names: list[str], y: Floats) -> Fitted:
    rows, place = decoded_files(own, names, TRANSFORMS[own.transform](own.size, upright=True))
    labels = torch.tensor(y)

    def part(index: Ints) -> CachedSplit:
        picked = torch.from_numpy(index)
        return CachedSplit(rows, place[picked], labels[picked])

    return Fitted(part, rows.digest)


def _text(own: CustomText, path: Path) -> _Raw:
    columns, notes = read_columns(own, path)
    y = columns[own.target].labels()
    made = partial(of_texts, own, columns[own.column], y, notes)
    return _Raw(y, split_of(own, columns), group_of(own, columns, notes), made, notes, _not_read)


def _not_read(fitted: Fitted) -> None:
    """New rows of vectors are read as vectors."""


READERS: Final[dict[str, Callable[[Any, Path], _Raw]]] = {
    "table": _table,
    "arrays": _arrays,
    "images": _images,
    "text": _text,
}
"""Kinds of files by the `type` of the declaration."""


def located(own: CustomData, root: Path | None) -> CustomData:
    """The declaration with absolute paths: of each as written, or below the data root; raises DataError.

    Names of weights on the hub stay as they are: every node fetches them for itself.
    """
    found: dict[str, str] = {}
    problems: list[str] = []
    for key, written in own.local.items():
        candidates = [_home(Path(written)), *([root / written] if root is not None else [])]
        is_there = Path.is_dir if key in FOLDERS else Path.is_file
        place = next((path for path in candidates if _there(is_there, path)), None)
        if place is None:
            if any(_there(Path.exists, path) for path in candidates):
                kind = "folder" if key in FOLDERS else "file"
                problems.append(f"{brief_path(written)} is there, but is no {kind}; name a {kind}")
                continue
            problems.append(
                f"{brief_path(written)} is missing; give its path from here, or from the data root (data: or "
                "TAILSWEEP_DATA)"
            )
        else:
            found[key] = str(place.resolve())
    if problems:
        raise DataError(*problems)
    return own.model_copy(update=found)


def _home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:  # the home of nobody
        return path


def _there(is_there: Callable[[Path], bool], path: Path) -> bool:
    try:
        return is_there(path)
    except (OSError, ValueError):  # a name that is too long, or a folder that may not be looked into
        return False


def _split(own: CustomData, raw: _Raw, bins: Ints, path: Path) -> list[Ints]:
    if raw.split is None:
        if raw.group is not None:
            return list(grouped_split(bins, raw.group, own.cap, own.name))
        return list(balanced_split(bins, own.cap, own.name))
    return written_split(own, raw.split, raw.group, path)


def _drawn(raw: _Raw, rows: Ints) -> Drawn:
    return Drawn(rows, [raw.names[row] for row in rows] if raw.names else ())


def load(own: CustomData, root: Path | None) -> Data:
    """Read, check, split and scale; scaling is fitted on the training rows."""
    own = located(own, root)
    path = Path(own.file)
    raw = READERS[own.type](own, path)
    grid = grid_of(own, raw.y, path)
    train, val, test = _split(own, raw, grid.bin(raw.y), path)
    empty = [name for name, rows in zip(SPLITS, (train, val, test), strict=True) if len(rows) == 0]
    if empty:
        raise DataError(
            *(f"{path}: the {name} split is empty; a bin needs three rows to be held out" for name in empty)
        )
    fitted = raw.inputs(train)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    digest.update(own.identity().encode())
    digest.update(fitted.read.encode())
    weights = weights_of(own) if isinstance(own, CustomImages) and own.features is None else None
    if weights is not None:
        digest.update(weights.read_bytes())
    data = Data(
        fitted.part(train),
        fitted.part(val),
        fitted.part(test),
        Units(float(np.median(raw.y[train])), float(raw.y[train].std()) if np.ptp(raw.y[train]) > 0 else grid.unit),
        f"{digest.hexdigest()[:16]}-{ANEW if raw.notes.anew else PREPARATION}{grid.mark}",
        weights,
        describe=(lambda row: raw.names[train[row]]) if raw.names else None,
        notes=tuple(raw.notes.words),
        test_groups=None if raw.group is None else np.unique(raw.group[test], return_inverse=True)[1],
        drawn=(_drawn(raw, train), _drawn(raw, val), _drawn(raw, test)),
        new_rows=raw.new_rows(fitted),
    )
    if weights is not None:
        _encoder(own, data)  # weights that do not fit are told before any training
    return data


def _encoder(own: CustomData, data: Data) -> tuple[nn.Module, int]:
    try:
        return own.named.of(data.train, own.hidden, data.weights)
    except ValueError as err:
        raise DataError(str(err)) from None


def _augment(own: CustomData) -> Callable[[torch.Tensor], torch.Tensor] | None:
    if not isinstance(own, CustomImages) or own.features is not None:
        return None
    return partial(augmented, names=own.augment, padding=max(1, own.size // CROPPED))


def build(own: CustomData, root: Path | None) -> Workload:
    """The workload of a declaration; raises DataError when its file cannot be read."""
    own = located(own, root)
    if isinstance(own, CustomMaps):
        return your_maps.build(own)
    path = Path(own.file)
    return with_grid(own, grid_of(own, READERS[own.type](own, path).y, path))


def with_grid(own: CustomData, grid: LabelGrid) -> Workload:
    """The workload of a declaration whose bins are known."""
    return Workload(
        name=own.name,
        title=own.title or own.target,
        unit=own.unit,
        origin=Origin(source=Path(own.file).name, licence="yours"),
        grid=grid,
        shots=Shots(own.many, own.few),
        load=lambda given: load(own, given),
        encoder=partial(_encoder, own),
        light=own.named.light,
        settings={"train.schedule": "cosine", **own.named.settings},
        augment=_augment(own),
        needs=_needs(own),
    )


def _needs(own: CustomData) -> tuple[str, ...]:
    augmented_by = ("kornia",) if isinstance(own, CustomImages) and own.augment else ()
    return (*own.named.needs, *modules_of(own), *augmented_by)
