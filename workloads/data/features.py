"""Columns of measurements as inputs of a network."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Scale:
    """How a column of numbers is scaled: (x / size − mean) / sd, and 0 for a gap (NaN).

    `size` is 1 but for numbers whose squares are none. `gaps` says whether a further column marks the gaps.
    """

    name: str
    mean: float
    sd: float
    size: float = 1.0
    gaps: bool = False

    @classmethod
    def of(cls, name: str, train: Floats) -> "Scale | None":
        """The scale of training values `[N]`: mean 0 and sd 1; None where they do not vary."""
        known = train[~np.isnan(train)]
        if not varies(known):
            return None
        size = _size(known)
        size = 1.0 if 1 / SQUARES < size < SQUARES else size
        known = known / size
        return cls(name, float(known.mean()), float(known.std()), size, bool(np.isnan(train).any()))

    def columns(self, values: Floats) -> Iterator[tuple[str, Floats]]:
        """Values `[N]` scaled, and the mark of gaps; a number that is too far from training's may become infinite."""
        gaps = np.isnan(values)
        with np.errstate(over="ignore", invalid="ignore"):  # some bits of NaN are told as invalid
            z = np.where(gaps, 0.0, (values / self.size - self.mean) / self.sd)
        yield self.name, z
        if self.gaps:
            yield f"{self.name} is missing", gaps.astype(np.float64)


def scales(columns: Iterable[tuple[str, Floats]], train: Ints) -> Iterator[tuple[Scale, Floats]]:
    """The scale of every column `[N]` that varies on the training rows, with its values."""
    for name, values in columns:
        if (scale := Scale.of(name, values[train])) is not None:
            yield scale, values


def standardised(columns: Mapping[str, Floats], train: Ints) -> tuple[Floats, tuple[Scale, ...]]:
    """Columns `[N]` as `[N, F]`, scaled on the training rows, with marks of gaps; and their scales."""
    found = list(scales(columns.items(), train))
    made = [column for scale, values in found for _, column in scale.columns(values)]
    return np.stack(made, axis=1), tuple(scale for scale, _ in found)
