"""Inputs of custom data as tensors: scaled on the training rows, and finite."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from workloads.data.custom.arrays import double
from workloads.data.custom.columns import SHOWN
from workloads.data.custom.notes import Notes
from workloads.data.features import SQUARES, scaled, varies
from workloads.labels import Floats, Ints
from workloads.messages import listed
from workloads.workload import DataError, Split, Table

Part: TypeAlias = Callable[[Ints], Split]
"""The split of some rows."""
Fitted: TypeAlias = tuple[Part, str]
"""The split of any rows, and a checksum of what is read besides the file."""


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

    made: list[npt.NDArray[np.float32]] = []
    problems: list[str] = []
    for name, values in scaled(noted(), train):
        made.append(_single(values))
        for row in np.flatnonzero(~np.isfinite(made[-1]))[:SHOWN].tolist():
            problems.append(_far(path, row, listed([name])))
    if problems:
        raise DataError(*problems[:SHOWN])
    if not made:
        raise DataError(
            f"{path}: no column of inputs varies on the training rows; it has {listed(list(seen)) or 'none'}"
        )
    if same := [name for name, varied in seen.items() if not varied and name not in words]:
        notes.add(f"no inputs, for they do not vary on the training rows: {listed(same)}")
    return part_of(np.stack(made, axis=1), y), ""


def shaped(x: npt.NDArray[Any], y: Floats, path: Path, notes: Notes, train: Ints) -> Fitted:
    """Inputs `[N, C, …]` in their shape, every channel scaled to mean 0 and sd 1 of the training rows.

    Gaps are 0, and so is a channel that does not vary on the training rows.
    """
    made = np.zeros(x.shape, np.float32)
    same: list[str] = []
    problems: list[str] = []
    for channel in range(x.shape[1]):
        values = double(x[:, channel])
        seen = values[train]
        known = seen[~np.isnan(seen)]
        if not varies(known):
            same.append(str(channel))
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            if not 1 / SQUARES < (size := float(np.abs(known).max())) < SQUARES:
                values, known = values / size, known / size
            made[:, channel] = _single(
                np.nan_to_num((values - known.mean()) / known.std(), posinf=np.inf, neginf=-np.inf)
            )
        far = np.flatnonzero(~np.isfinite(made[:, channel]).reshape(len(x), -1).all(axis=1))
        problems += [_far(path, int(row), f"channel {channel}") for row in far[:SHOWN]]
    if len(same) == x.shape[1]:
        raise DataError(f"{path}: no channel of inputs varies on the training rows; there are {x.shape[1]}")
    if problems:
        raise DataError(*problems[:SHOWN])
    if same:
        notes.add(f"0 throughout, for they do not vary on the training rows: channels {listed(same)}", anew=True)
    return part_of(made, y), ""


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
