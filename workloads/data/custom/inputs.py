"""Inputs of custom data as tensors: scaled on the training rows, and finite."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from workloads.data.custom.arrays import double
from workloads.data.custom.columns import SHOWN
from workloads.data.custom.notes import Notes
from workloads.data.features import SQUARES, Scale, scales, varies
from workloads.labels import Floats, Ints
from workloads.messages import listed
from workloads.workload import DataError, Split, Table

Part: TypeAlias = Callable[[Ints], Split]
"""The split of some rows."""


@dataclass(frozen=True)
class Fitted:
    """The split of any rows, a checksum of what is read besides the file, and how columns or channels are scaled.

    None among `scales` stands for a channel that does not vary.
    """

    part: Part
    read: str = ""
    scales: tuple[Scale | None, ...] = ()

    @property
    def used(self) -> tuple[Scale, ...]:
        """The scales of what varies."""
        return tuple(scale for scale in self.scales if scale is not None)


def flat(
    columns: Iterable[tuple[str, Floats]], words: Collection[str], y: Floats, path: Path, notes: Notes, train: Ints
) -> Fitted:
    """Columns `[N]` as rows of numbers, scaled on the training rows; raises DataError for those that are too far.

    Columns that do not vary are noted, but for those of `words`: a word that training lacks is nothing to tell.
    """
    seen: dict[str, bool] = {}

    def noted() -> Iterable[tuple[str, Floats]]:
        for name, values in columns:
            known = values[train][~np.isnan(values[train])]
            seen[name] = varies(known)
            with np.errstate(over="ignore"):
                notes.anew |= len(known) > 0 and seen[name] != bool(1 / SQUARES < known.std() < SQUARES)
            yield name, values

    used: list[Scale] = []

    def kept() -> Iterator[tuple[Scale, Floats]]:
        for scale, values in scales(noted(), train):
            used.append(scale)
            yield scale, values

    made = rows_of(kept(), path)
    if made is None:
        raise DataError(
            f"{path}: no column of inputs varies on the training rows; it has {listed(list(seen)) or 'none'}"
        )
    if same := [name for name, varied in seen.items() if not varied and name not in words]:
        notes.add(f"no inputs, for they do not vary on the training rows: {listed(same)}")
    return Fitted(part_of(made, y), scales=tuple(used))


def rows_of(columns: Iterable[tuple[Scale, Floats]], path: Path) -> npt.NDArray[np.float32] | None:
    """Columns `[N]` scaled, as rows `[N, F]`; None without any. Raises DataError for numbers that are too far."""
    made: list[npt.NDArray[np.float32]] = []
    problems: list[str] = []
    for scale, values in columns:
        for name, column in scale.columns(values):
            made.append(_single(column))
            far = np.flatnonzero(~np.isfinite(made[-1]))[:SHOWN].tolist()
            problems += [_far(path, row, listed([name])) for row in far]
    if problems:
        raise DataError(*problems[:SHOWN])
    return np.stack(made, axis=1) if made else None


def shaped(x: npt.NDArray[Any], y: Floats, path: Path, notes: Notes, train: Ints) -> Fitted:
    """Inputs `[N, C, …]` in their shape, every channel scaled to mean 0 and sd 1 of the training rows.

    Gaps are 0, and so is a channel that does not vary on the training rows.
    """
    found = tuple(Scale.of(f"channel {at}", double(x[train, at]).ravel()) for at in range(x.shape[1]))
    same = [str(channel) for channel, scale in enumerate(found) if scale is None]
    if len(same) == x.shape[1]:
        raise DataError(f"{path}: no channel of inputs varies on the training rows; there are {x.shape[1]}")
    made = channels_of(x, found, path)
    if same:
        notes.add(f"0 throughout, for they do not vary on the training rows: channels {listed(same)}", anew=True)
    return Fitted(part_of(made, y), scales=found)


def channels_of(x: npt.NDArray[Any], scales: tuple[Scale | None, ...], path: Path) -> npt.NDArray[np.float32]:
    """Inputs `[N, C, …]` with every channel scaled; raises DataError for numbers that are too far."""
    made = np.zeros(x.shape, np.float32)
    problems: list[str] = []
    for channel, scale in enumerate(scales):
        if scale is not None:
            _, values = next(scale.columns(double(x[:, channel])))
            made[:, channel] = _single(values)
            far = np.flatnonzero(~np.isfinite(made[:, channel]).reshape(len(x), -1).all(axis=1))
            problems += [_far(path, int(row), f"channel {channel}") for row in far[:SHOWN]]
    if problems:
        raise DataError(*problems[:SHOWN])
    return made


def _far(path: Path, row: int, name: str) -> str:
    return (
        f"{path}: row {row + 1}: {name} is too far from the numbers of the training rows to be told apart from infinity"
    )


def _single(values: Floats) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def part_of(x: npt.NDArray[np.float32], y: Floats) -> Part:
    """The split of any rows of inputs `[N, …]` and labels `[N]`."""
    inputs, labels = torch.from_numpy(x), torch.tensor(y)

    def part(rows: Ints) -> Table:
        picked = torch.from_numpy(rows)
        return Table(inputs[picked], labels[picked])

    return part
