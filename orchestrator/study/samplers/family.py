"""What a sampler is: suggestions as a function of the cell, the number and the results that may be known."""

from collections.abc import Sequence

from orchestrator.study.cells import Cell
from orchestrator.study.space import START, Direction, Observation
from workloads.hparams import Value


class Family:
    """Base of every sampler.

    A suggestion must be a function of what `suggest` is given, with generators seeded by `space.seed_for`: a study that
    was interrupted asks again. The first trial of a cell, number 0, is the published or default setting, and is not
    asked for.
    """

    words: str
    """What stands behind the number of its settings under a table: `8 by TPE`."""
    unshaped: str = "random"
    """The same for those that no result shapes."""
    several: bool = True
    """Whether it serves several objectives."""
    protocols: frozenset[int] = frozenset({2})

    def learns(self, number: int, protocol: int) -> bool:
        """Whether results may shape the suggestion with a number."""
        return number not in START

    def random(self, trials: int, protocol: int) -> int:
        """Of so many trials of a cell, how many no result shapes, the first setting included."""
        return sum(not self.learns(number, protocol) for number in range(trials))

    def suggest(
        self, cell: Cell, number: int, history: Sequence[Observation], directions: Sequence[Direction]
    ) -> dict[str, Value]:
        """The active settings of a suggestion, defaults included, by full name; `history` has all earlier trials."""
        raise NotImplementedError

    def size(self, cell: Cell) -> int | None:
        """How many suggestions a cell has; None without an end."""
        return None

    def refused(self, cell: Cell, trials: int) -> str:
        """Why it cannot search a cell in so many trials, with the way out; empty where it can."""
        return ""
