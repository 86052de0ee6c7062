"""Exhaustive search: every combination of the values of all axes, in the order in which they are declared."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from orchestrator.study.axes import Axis, at
from orchestrator.study.cells import Cell
from orchestrator.study.keys import TRIALS
from orchestrator.study.samplers.family import Family
from orchestrator.study.space import Direction, Observation, acts
from workloads.hparams import Choice, Value

POINTS: Final = 3
"""Values of a range of numbers: both ends and the middle, on the scale of the range."""


def values_of(axis: Axis) -> list[Value]:
    """What the grid tries of an axis: all that is listed, and a few numbers of a range."""
    if isinstance(axis.range, Choice):
        return list(axis.range.options)
    ends = {0: axis.range.low, POINTS - 1: axis.range.high}
    return list(dict.fromkeys(ends.get(n, at(axis, n / (POINTS - 1))) for n in range(POINTS)))


def points(cell: Cell, chosen: dict[str, Value] | None = None, place: int = 0) -> Iterator[dict[str, Value]]:
    """The combinations; what a condition leaves out has no values in them."""
    chosen = chosen or {}
    if place == len(cell.axes):
        yield chosen
        return
    axis = cell.axes[place]
    if not acts(cell, axis, chosen):
        yield from points(cell, chosen, place + 1)
        return
    for value in values_of(axis):
        yield from points(cell, {**chosen, axis.name: value}, place + 1)


class Grid(Family):
    """Refused where the budget does not cover it: a grid that is cut says nothing of what was cut off."""

    words: str = "of a grid"
    unshaped: str = words

    def learns(self, number: int, protocol: int) -> bool:
        """Never."""
        return False

    def suggest(
        self, cell: Cell, number: int, history: Sequence[Observation], directions: Sequence[Direction]
    ) -> dict[str, Value]:
        """The next combination."""
        return next(islice(points(cell), number - 1, None))

    def size(self, cell: Cell) -> int | None:
        """Combinations, counted to one more than a study can have trials."""
        return sum(1 for _ in islice(points(cell), TRIALS))

    def refused(self, cell: Cell, trials: int) -> str:
        """A grid that is larger than the budget."""
        size = self.size(cell) or 0
        if not cell.axes or 1 + size <= trials:
            return ""
        axes = " x ".join(f"{axis.name} ({len(values_of(axis))})" for axis in cell.axes)
        many = f"{size:,}" if size < TRIALS else f"{TRIALS:,} or more"
        return (
            f"tune.trials must cover the grid of {cell.name} and its first setting: got {trials}, and the grid has "
            f"{many} points, {axes}; set tune.trials to {1 + size}, list or fix values under space, or take "
            "tune.sampler: qmc"
        )
