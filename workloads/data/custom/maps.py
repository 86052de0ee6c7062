"""Images of your own whose every pixel has a label, declared in the study file, without code."""

import hashlib
import io
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from workloads.cache import CachedSplit, Source, Transform
from workloads.data.custom.arrays import read_npy
from workloads.data.custom.bins import bins_between
from workloads.data.custom.columns import SPLITS, Column, group_of, read_columns, split_of, written_split
from workloads.data.custom.files import decoded_files, names_below, weights_of
from workloads.data.custom.new_rows import ImageRows
from workloads.data.custom.notes import Notes
from workloads.data.custom.schema import CustomMaps
from workloads.data.images import opened, resized, turn_of
from workloads.data.pixels import Reader, balanced, choose, count_pixels, proportional, spaced
from workloads.encoders.dense import AUGMENTATIONS
from workloads.labels import Ints, LabelGrid, Shares
from workloads.seeds import seed_of
from workloads.workload import Data, DataError, Drawn, Maps, Origin, Units, Workload

HELD: Final = 10
"""The part of the rows, or groups, that is validation, and that is test, where no column says so."""
SAMPLE_IMAGES: Final = 600
SAMPLE_PIXELS: Final = 1 << 18
"""What methods see of training at once: pixels of evenly spaced images."""
MAPS: Final = {"float32": "labels", "float64": "labels64"}
"""Names of kinds of decoded maps, by how labels are kept."""
PREPARATION: Final = 2
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""


def _values(content: bytes, source: Source) -> npt.NDArray[np.float64]:
    """The numbers of a file `[H, W]`, upright: an NPY array, or an image of one channel."""
    if source.path.suffix.lower() == ".npy":
        found = read_npy(io.BytesIO(content))
    else:
        with opened(content) as image:
            if len(image.getbands()) != 1 or image.mode == "P":
                raise ValueError(f"a map of labels has one channel of numbers: got mode {image.mode}")
            turn = turn_of(image)
            found = np.asarray(image if turn is None else image.transpose(turn))
    if found.ndim != 2 or found.dtype.kind not in "iuf":
        raise ValueError(f"a map of labels is real numbers [H, W]: got {found.dtype} {list(found.shape)}")
    if found.size == 0:
        raise ValueError(f"a map of labels has pixels: got {list(found.shape)}")
    values: npt.NDArray[np.float64] = found.astype(np.float64)
    return values


def _labels(content: bytes, source: Source, own: CustomMaps) -> npt.NDArray[Any]:
    """Labels `[h, w]` of the nearest pixels, NaN where there is none."""
    found = _values(content, source)
    found[~np.isfinite(found) | (found == own.blank)] = np.nan
    with np.errstate(over="ignore"):
        found *= own.scale
    if np.isnan(found).all():
        raise ValueError("no pixel has a label")
    lowest, highest = np.nanmin(found), np.nanmax(found)
    if lowest < own.low or highest > own.high:
        raise ValueError(f"labels must lie in {own.low:g} … {own.high:g}: got {lowest:g} … {highest:g}")
    rows, columns = (((np.arange(own.map_side) + 0.5) * side / own.map_side).astype(int) for side in found.shape)
    near = found[rows][:, columns]
    if np.isnan(near).all():
        raise ValueError(f"no label is left at {own.map_side} × {own.map_side} pixels; raise map_size")
    labels: npt.NDArray[Any] = near.astype(_dtype(own))
    return labels


def _dtype(own: CustomMaps) -> str:
    """How labels are kept: in float32 where it tells a thousandth of a bin, else in float64."""
    step = float(np.spacing(np.float32(max(abs(own.low), abs(own.high)))))
    return "float32" if 1000 * step <= own.bin_width else "float64"


def _split(own: CustomMaps, columns: dict[str, Column], names: list[str], path: Path, notes: Notes) -> list[Ints]:
    """Rows of train, val and test: as a column says, or by the seeds of the names of groups or images."""
    split, group = split_of(own, columns), group_of(own, columns, notes)
    if split is not None:
        return written_split(own, split, group, path)
    owner = names if group is None else group.tolist()
    order = sorted(set(owner), key=lambda name: seed_of(own.name, name))
    each = max(1, len(order) // HELD)
    place = dict.fromkeys(order[:each], 1) | dict.fromkeys(order[each : 2 * each], 2)
    part = np.array([place.get(name, 0) for name in owner])
    return [np.flatnonzero(part == number) for number in range(3)]


def load(own: CustomMaps, root: Path | None = None) -> Data:
    """Read the table and decode images and maps, once; raises DataError with all that is wrong.

    `own` has absolute paths.
    """
    path = Path(own.file)
    columns, notes = read_columns(own, path)
    names = {name: names_below(columns[name]) for name in (own.column, own.target)}
    parts = _split(own, columns, names[own.column], path, notes)
    if empty := [name for name, rows in zip(SPLITS, parts, strict=True) if len(rows) == 0]:
        raise DataError(*(f"{path}: the {name} split is empty; it takes three images or groups" for name in empty))
    side = own.map_side
    kind = f"{MAPS[_dtype(own)]}-{side}-{own.scale!r}-{own.blank!r}-{own.low!r}-{own.high!r}-{PREPARATION}"
    problems: list[str] = []
    found = []
    for column, transform in (
        (own.column, resized(own.size, upright=True)),
        (own.target, Transform(kind, (side, side), partial(_labels, own=own), _dtype(own))),
    ):
        try:
            found.append(decoded_files(own, names[column], transform))
        except DataError as err:
            problems += err.problems
    if problems:
        raise DataError(*problems)
    (images, at_image), (maps, at_map) = found
    digest = hashlib.sha256(path.read_bytes() + own.identity().encode() + (images.digest + maps.digest).encode())
    weights = weights_of(own)
    if weights is not None:
        digest.update(weights.read_bytes())
    fingerprint = f"{digest.hexdigest()[:16]}-{PREPARATION}{_grid(own).mark}"

    def part(name: str, index: Ints) -> Maps:
        picked, every = torch.from_numpy(index), torch.arange(len(index))
        labels: Reader = CachedSplit(maps, at_map[picked], every).inputs
        some = spaced(len(every), SAMPLE_IMAGES) if name == "train" else every
        present = count_pixels(labels, some, _grid(own))
        wanted = proportional(present, SAMPLE_PIXELS) if name == "train" else balanced(present, own.cap)
        scored = choose(labels, some, _grid(own), present, wanted, f"{own.name}/{name}")
        counts = count_pixels(labels, every, _grid(own), fingerprint) if name == "train" else None
        return Maps(
            len(every), (side, side), CachedSplit(images, at_image[picked], every).inputs, labels, scored, counts
        )

    train, val, test = (part(name, index) for name, index in zip(SPLITS, parts, strict=True))
    units = Units(float(train.y.mean()), float(train.y.std()) or _grid(own).unit)
    rows = [Drawn(index, [names[own.column][row] for row in index]) for index in parts]
    data = Data(
        *(train, val, test, units, fingerprint, weights, rows[0].names.__getitem__, tuple(notes.words)),
        drawn=(rows[0], rows[1], rows[2]),
        new_rows=ImageRows(own.column, own.size, "resized"),
    )
    if weights is not None:
        _encoder(own, data)  # weights that do not fit are told before any training
    return data


def _grid(own: CustomMaps) -> LabelGrid:
    return LabelGrid(own.low, own.high, bins_between(own.low, own.high, own.bin_width))


def _encoder(own: CustomMaps, data: Data) -> tuple[nn.Module, int]:
    try:
        return own.named.make((3, own.size, own.size), (), data.weights)
    except ValueError as err:
        raise DataError(str(err)) from None


def _augment(own: CustomMaps, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    for name, change in AUGMENTATIONS.items():
        if name in own.augment:
            x, y = change(x, y)
    return x.float(), y


def build(own: CustomMaps) -> Workload:
    """The workload of a declaration with absolute paths."""
    return Workload(
        name=own.name,
        title=own.title or own.target,
        unit=own.unit,
        origin=Origin(source=Path(own.file).name, licence="yours"),
        grid=_grid(own),
        shots=Shares(own.many_share, own.few_share),
        load=partial(load, own),
        encoder=partial(_encoder, own),
        metrics=("mae", "rmse"),
        settings={
            "train.schedule": "cosine",
            "train.batch_size": 32,
            "inv.clip_high": 10**9,  # thousands of pixels in a bin; the published bounds are for rows
            "lds.clip_high": 10**9,
            "fds.statistics": "streaming",
        },
        augment_maps=partial(_augment, own),
        needs=("transformers",),
        dense=True,
    )
