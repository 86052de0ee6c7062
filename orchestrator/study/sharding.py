"""Which cells of a study a driver works on. Cells are known by their names, in the order of the study."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from orchestrator.errors import BadInput, shown
from orchestrator.storage.leases import Leases
from orchestrator.study.keys import Budget


class Share(Protocol):
    """What the planner asks before it gives out a trial."""

    def of(self, cells: Sequence[str]) -> Sequence[str]:
        """The cells that must be complete before this driver is done."""

    def choose(self, ready: Iterable[str]) -> str | None:
        """One of the cells that have a trial to give out; None when this driver may work on none of them now."""

    def leave(self, cell: str) -> None:
        """Nothing of the cell is left to do."""


class Whole:
    """All cells: one driver runs the study."""

    def of(self, cells: Sequence[str]) -> Sequence[str]:
        """All."""
        return cells

    def choose(self, ready: Iterable[str]) -> str | None:
        """The first: the planner sorts them."""
        return next(iter(ready), None)

    def leave(self, cell: str) -> None:
        """Nobody waits for it."""


@dataclass(frozen=True)
class Shard:
    """Every `count`-th cell, from the `number`-th on: shards are disjoint, and each has a part of every workload."""

    number: int
    count: int
    cells: Sequence[str]

    def of(self, cells: Sequence[str]) -> Sequence[str]:
        """The shard's own."""
        return self.cells[self.number :: self.count]

    @cached_property
    def mine(self) -> frozenset[str]:
        """The shard's own."""
        return frozenset(self.of(self.cells))

    def choose(self, ready: Iterable[str]) -> str | None:
        """The first of the shard's own."""
        return next((cell for cell in ready if cell in self.mine), None)

    def leave(self, cell: str) -> None:
        """Nobody waits for it."""


class Stealing:
    """The shard's own cells first, then any that nobody works on; a lease tells who works on what.

    A driver leases as few cells as keep its workers busy, so that much is left for idle ones, and is done when the
    whole study is: until then it takes over what others leave or drop. Leases only spare double work: a trial that two
    drivers train is committed once all the same.
    """

    def __init__(self, shard: Shard, leases: Leases) -> None:
        self._shard, self._leases = shard, leases

    def of(self, cells: Sequence[str]) -> Sequence[str]:
        """All cells: the last driver completes the study."""
        return cells

    def choose(self, ready: Iterable[str]) -> str | None:
        """A cell that this driver holds, else one of its shard, else one of another's."""
        mine, held = self._shard.mine, self._leases.held()
        for cell in sorted(ready, key=lambda name: (name not in held, name not in mine)):
            if self._leases.hold(cell):
                return cell
        return None

    def leave(self, cell: str) -> None:
        """Let the others see that it is complete."""
        self._leases.release(cell)


def check_steal(budget: Budget) -> None:
    """Raises BadInput where a study has a budget: drivers share it by their cells."""
    if budget.bounds:
        raise BadInput(
            "a budget is shared among drivers by their cells, and --steal gives a driver those of others: leave one out"
        )


def parse(text: str) -> tuple[int, int]:
    """`3/8`: the shard with number 3 of 8, counted from 0. Raises BadInput."""
    found = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text.strip())
    if found is None or not int(found[1]) < int(found[2]):
        raise BadInput(
            f"a shard is NUMBER/COUNT, counted from 0: got {shown(text)}; for example 0/8 or '$SLURM_PROCID/8'"
        )
    return int(found[1]), int(found[2])
