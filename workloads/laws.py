"""Laws over several hyperparameters, or over one and what a trial runs on: declared beside them, checked at `plan`."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workloads.hparams import Frame, Possible


@dataclass(frozen=True)
class Ordered:
    """The law low ≤ high, for every pair of values that may meet."""

    low: str
    high: str

    @property
    def names(self) -> tuple[str, ...]:
        """The hyperparameters that the law is about."""
        return (self.low, self.high)

    def broken(self, possible: Possible, frame: Frame) -> str:
        """What breaks the law, in words; empty where nothing does."""
        low, high = max(possible[self.low]), min(possible[self.high])
        if low <= high:
            return ""
        return (
            f"{self.low} must not exceed {self.high}: got {self.low} = {low} and {self.high} = {high}"
            f"{searched(possible, *self.names)}; lower {self.low} or raise {self.high}"
        )


@dataclass(frozen=True)
class OnGrid:
    """The law that a hyperparameter is a bin of the workload's label grid."""

    name: str

    @property
    def names(self) -> tuple[str, ...]:
        """The hyperparameters that the law is about."""
        return (self.name,)

    def broken(self, possible: Possible, frame: Frame) -> str:
        """What breaks the law, in words; empty where nothing does."""
        highest = max(possible[self.name])
        if highest < frame.bins:
            return ""
        return (
            f"{self.name} must be a bin of the grid, 0 … {frame.bins - 1}: got {highest}"
            f"{searched(possible, self.name)}; take one of these"
        )


@dataclass(frozen=True)
class StagesTrain:
    """The law that every stage of a plan has an epoch; `shares` are the stages' shares under a value."""

    name: str
    shares: Callable[[float], Sequence[float]]

    @property
    def names(self) -> tuple[str, ...]:
        """The hyperparameters that the law is about."""
        return (self.name,)

    def broken(self, possible: Possible, frame: Frame) -> str:
        """What breaks the law, in words; empty where nothing does."""
        for value in sorted({min(possible[self.name]), max(possible[self.name])}):
            epochs = split_epochs(self.shares(float(value)), frame.epochs)
            if not all(epochs):
                return (
                    f"{self.name} must leave every stage an epoch: got {self.name} = {value}"
                    f"{searched(possible, self.name)} of train.epochs = {frame.epochs}, stages of "
                    f"{' and '.join(map(str, epochs))}; raise train.epochs or bring {self.name} nearer to 0.5"
                )
        return ""


def split_epochs(shares: Sequence[float], epochs: int) -> list[int]:
    """Epochs of every stage: the ends of the stages' shares, rounded."""
    ends = [0.0, *itertools.accumulate(shares)]
    marks = [round(end / ends[-1] * epochs) for end in ends]
    return [after - before for before, after in itertools.pairwise(marks)]


def searched(possible: Possible, *names: str) -> str:
    """Words for values that are the extremes of a search."""
    return ", which the search may draw" if any(len(set(possible[name])) > 1 for name in names) else ""
