"""Arrays of NPY and NPZ files: plain numbers or text of a bounded size, or one message; nothing is unpickled."""

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from workloads.data.custom.tables import LARGEST
from workloads.labels import Floats
from workloads.messages import brief, listed, reason
from workloads.workload import DataError

Array: TypeAlias = npt.NDArray[Any]

HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""Readers of headers by the version of the format; a third one is for names of fields alone."""
KINDS: Final = "biufcmMSU"
"""Kinds of numpy's types that are plain: no objects, records or raw bytes."""


def read_npy(stream: IO[bytes]) -> Array:
    """The array of an NPY file, read-only; raises ValueError for one that is no plain array, lies, or is too large.

    Nothing is allocated for a shape that the file does not fill.
    """
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"an array of plain numbers is of version 1.0 or 2.0: got {version[0]}.{version[1]}")
    shape, by_column, kind = HEADERS[version](stream)
    if kind.kind not in KINDS or kind.itemsize == 0:
        raise ValueError(f"an array must hold plain numbers or text: got {brief(kind)[:40]}")
    size = math.prod(shape) * kind.itemsize
    if min(shape, default=0) < 0 or size > LARGEST:
        raise ValueError(f"shape {list(shape)} takes {size / 1e9:.1f} GB, and at most {LARGEST / 1e9:.1f} GB are read")
    content = stream.read(size)
    if len(content) != size or stream.read(1):
        raise ValueError(f"its shape {list(shape)} takes {size:,} bytes, and it has {'more' if content else 'fewer'}")
    if size == 0:
        return np.empty(shape, kind)
    return np.frombuffer(content, kind).reshape(shape, order="F" if by_column else "C")


def read_npz(path: Path, names: Collection[str]) -> dict[str, Array]:
    """Arrays of an NPZ by name; others in it are left alone. Raises DataError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            if missing := [name for name in names if name not in members]:
                has = listed(list(members))
                raise DataError(*(f"{path}: array {brief(name)} is missing; the file has {has}" for name in missing))
            found = {}
            for name in dict.fromkeys(names):
                with archive.open(members[name]) as stream:
                    found[name] = read_npy(stream)
            return found
    except DataError:
        raise
    except Exception as err:  # a broken file raises whatever its bytes happen to say
        raise DataError(f"{path}: must be an NPZ of plain arrays: {reason(err)}") from None


def real(path: Path, name: str, values: Array) -> Array:
    """Inputs `[N, …]` as they are, or durations as numbers, NaN for gaps; raises DataError for what is no real number.

    A number that is not finite is told with its row, and its place in the row.
    """
    if values.dtype.kind not in "biufm":
        raise DataError(f"{path}: array {brief(name)} must hold real numbers: got {values.dtype}")
    if values.ndim == 0:
        raise DataError(f"{path}: array {brief(name)} must have one row each: got a single number")
    if values.size == 0:
        raise DataError(
            f"{path}: array {brief(name)} has no {'columns' if len(values) else 'rows'}: it is {shape_of(values)}"
        )
    if values.dtype.kind == "m":
        return np.where(np.isnat(values), np.nan, values.astype(np.int64).astype(np.float64))
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    problems: list[str] = []
    rows = max(1, (1 << 22) // max(1, values[0].size))
    for start in range(0, len(values) if values.dtype.kind == "f" else 0, rows):
        for row, *place in np.argwhere(np.isinf(values[start : start + rows])).tolist():
            where = f"[{', '.join(map(str, place))}]" if place else ""
            problems.append(f"{path}: row {start + row + 1}: {name}{where} is {values[start + row][tuple(place)]}")
            if len(problems) == 20:
                raise DataError(*problems)
    if problems:
        raise DataError(*problems)
    return values


def double(values: Array) -> Floats:
    """Numbers as float64; the bits of a NaN are no matter."""
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64)


def shape_of(values: Array) -> str:
    """A shape as it is told in messages."""
    return str(list(values.shape))
