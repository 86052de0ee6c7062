"""The cells that have a trial to give out, in an order that changes as they are served."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import TypeAlias

Order: TypeAlias = tuple[float, ...]
"""Where a cell stands; the least comes first."""


class Ready:
    """Names in their order, those of equal order as they stand in the study.

    A change costs the same however many trials there were: cells are looked through by nobody.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._places = {name: place for place, name in enumerate(names)}
        self._order: list[tuple[Order, int]] = []
        self._of: dict[str, Order] = {}

    def __iter__(self) -> Iterator[str]:
        return (self._names[place] for _, place in self._order)

    def __bool__(self) -> bool:
        return bool(self._order)

    def note(self, name: str, order: Order | None) -> None:
        """A cell has a trial to give out and stands there; None: it has none."""
        if name not in self._places or self._of.get(name) == order:
            return
        place = self._places[name]
        if name in self._of:
            del self._order[bisect_left(self._order, (self._of.pop(name), place))]
        if order is not None:
            insort(self._order, (order, place))
            self._of[name] = order
