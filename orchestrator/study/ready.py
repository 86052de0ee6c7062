"""The cells that have a trial to give out, the least served first."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence


class Ready:
    """Names in the order of what they were charged, those of equal charge in their own order.

    A change costs the same however many trials there were: cells are looked through by nobody.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._places = {name: place for place, name in enumerate(names)}
        self._order: list[tuple[float, int]] = []
        self._charged: dict[str, float] = {}

    def __iter__(self) -> Iterator[str]:
        return (self._names[place] for _, place in self._order)

    def __bool__(self) -> bool:
        return bool(self._order)

    def note(self, name: str, charged: float | None) -> None:
        """A cell has a trial to give out and was charged so much; None: it has none."""
        if name not in self._places or self._charged.get(name) == charged:
            return
        place = self._places[name]
        if name in self._charged:
            del self._order[bisect_left(self._order, (self._charged.pop(name), place))]
        if charged is not None:
            insort(self._order, (charged, place))
            self._charged[name] = charged
