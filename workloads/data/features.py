"""Columns of measurements as inputs of a network."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np

from workloads.labels import Floats, Ints

SAME: Final = 1e-13
"""Numbers that differ by less than this part of the largest are one number: sums round to some 1e-16 of it."""
SQUARES: Final = 1e150
"""Numbers whose squares still are numbers; the same downwards."""


def varies(values: Floats) -> bool:
    """Whether numbers `[N]`, none of them NaN, differ by more than rounding."""
    return len(values) > 0 and bool(np.ptp(values / _size(values)) > SAME)


def _size(values: Floats) -> float:
    return float(np.abs(values).max()) or 1.0


def scaled(columns: Iterable[tuple[str, Floats]], train: Ints) -> Iterator[tuple[str, Floats]]:
    """Columns `[N]` scaled to mean 0 and sd 1 on the training rows, each with its name.

    A gap (NaN) becomes 0, and where training has gaps a further column marks them. Columns that do not vary on the
    training rows are left out. A number that is too far from those of training may become infinite.
    """
    for name, values in columns:
        known = values[train][~np.isnan(values[train])]
        if not varies(known):
            continue
        gaps = np.isnan(values)
        with np.errstate(over="ignore", invalid="ignore"):  # some bits of NaN are told as invalid
            if not 1 / SQUARES < (size := _size(known)) < SQUARES:
                values, known = values / size, known / size
            z = np.where(gaps, 0.0, (values - known.mean()) / known.std())
        yield name, z
        if gaps[train].any():
            yield f"{name} is missing", gaps.astype(np.float64)


def standardise(columns: Mapping[str, Floats], train: Ints) -> Floats:
    """Columns `[N]` as `[N, F]`, scaled to mean 0 and sd 1 on the training rows, with marks of gaps: see `scaled`."""
    return np.stack([values for _, values in scaled(columns.items(), train)], axis=1)
