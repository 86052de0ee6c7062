"""When trials of a cell are compared by early stopping, and what is told of it before a study begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, Protocol

from orchestrator.ledger.records import Settings
from orchestrator.study.axes import Axis
from orchestrator.study.keys import Tune
from orchestrator.study.rules import HALVING, rule
from workloads.laws import split_epochs
from workloads.recipe import Recipe, stages_of
from workloads.training import LOOP, acting

EPOCHS: Final = "train.epochs"
VALIDATE: Final = "validate_every"


class Searched(Protocol):
    """A cell, as far as it is known before its data are read."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def workload(self) -> str:
        """The name of its workload."""

    @property
    def recipe(self) -> Recipe:
        """Its recipe, whose plan has stages."""

    @property
    def fixed(self) -> Settings:
        """Settings that all its trials share."""

    @property
    def axes(self) -> Sequence[Axis]:
        """What is searched."""

    @property
    def published(self) -> Settings:
        """Settings that its first trial has beside those of all."""


@dataclass(frozen=True)
class Limits:
    """Trials of a cell are compared after `grace` epochs, and after `reduction` times as many again and again.

    `population` of them are compared, or are needed before one is stopped; one in `reduction` goes on. `first` is the
    number of epochs of the plan's first stage: scores of later ones are not compared, since they train other things.
    """

    epochs: int
    first: int
    grace: int
    population: int
    reduction: int
    validated: int = 1
    """Epochs from one validation to the next, beside the one at the end of a stage."""

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which trials are compared; the last epoch is none of them."""
        found, rung = [], self.grace
        while rung <= self.first and rung < self.epochs:
            found.append(rung)
            rung *= self.reduction
        return tuple(found)

    @property
    def unscored(self) -> tuple[int, ...]:
        """Those of them without scores."""
        return _unscored(self.rungs, self.first, self.validated)


def _unscored(rungs: Sequence[int], first: int, every: int) -> tuple[int, ...]:
    """Rungs that have no scores of a first stage of so many epochs, of which every so many are validated."""
    return tuple(rung for rung in rungs if rung > first or (rung % every and rung != first))


def limits(tune: Tune, cell: Searched) -> Limits | None:
    """When trials of a cell are compared; None without early stopping."""
    of = rule(tune.scheduler)
    if of is None:
        return None
    epochs, every = int(cell.fixed.get(EPOCHS, LOOP.epochs)), _validated(cell, cell.fixed)
    return Limits(
        epochs=epochs,
        first=_first_stage(cell, cell.fixed, epochs),
        grace=tune.grace or every * ceil(max(1, epochs // of.part) / every),
        population=tune.population or of.population,
        reduction=tune.reduction or of.reduction,
        validated=every,
    )


def _first_stage(cell: Searched, settings: Settings, epochs: int) -> int:
    """Epochs of the first stage of the cell's plan under some settings."""
    return split_epochs([stage.share for stage in stages_of(cell.recipe, settings)], epochs)[0]


def _validated(cell: Searched, settings: Settings) -> int:
    """Epochs from one validation to the next under some settings."""
    return int(settings.get(f"train.{VALIDATE}", LOOP.validate_every)) if VALIDATE in acting(cell.recipe) else 1


def check_comparable(tune: Tune, cells: Sequence[Searched]) -> None:
    """Raises ValueError where trials of a cell would be compared after epochs that are not alike."""
    for cell in cells if tune.scheduler != "none" else ():
        for axis in cell.axes:
            if axis.name in {EPOCHS, f"train.{VALIDATE}"} or axis.name.startswith(f"{cell.recipe.plan}."):
                raise ValueError(
                    f"tune.scheduler compares trials after equal epochs of one stage: got {tune.scheduler!r}, and "
                    f"{axis.name} is searched in {cell.name}; give it one value, or set scheduler: none"
                )
        of = limits(tune, cell)
        if of is not None and of.unscored:
            raise ValueError(
                f"tune.scheduler compares trials after epochs that are validated: got train.validate_every: "
                f"{of.validated}, and comparisons after {', '.join(map(str, of.rungs))} epochs in {cell.name}; set "
                f"tune.grace to a multiple of {of.validated}, or train.validate_every: 1"
            )
        alone = {**cell.fixed, **cell.published}
        if of is not None and _unscored(of.rungs, _first_stage(cell, alone, of.epochs), _validated(cell, alone)):
            own = ", ".join(f"{name}: {value}" for name, value in cell.published.items())
            raise ValueError(
                f"tune.scheduler compares trials after equal epochs of one stage: got {tune.scheduler!r}, and the "
                f"first trial of {cell.name} has no score of its first stage after "
                f"{', '.join(map(str, of.rungs))} epochs, with {own} of its own; give all trials these by train or "
                "space, or set scheduler: none"
            )


def told(tune: Tune, cells: Sequence[Searched], settings: Sequence[int]) -> list[str]:
    """What early stopping does in every cell, whose search tries so many settings; also where it can never act."""
    named: dict[str, list[str]] = {}
    for cell, count in zip(cells, settings, strict=True):
        of = limits(tune, cell)
        if of is not None:
            named.setdefault(_words(tune.scheduler, of, count), []).append(cell.name)
    return [
        f"early stopping by {tune.scheduler}{'' if len(named) == 1 else f' in {_few(names)}'}: {words}"
        for words, names in named.items()
    ]


def _words(name: str, of: Limits, settings: int) -> str:
    if not of.rungs:
        sooner = ""
        if of.grace > 1:
            sooner = "lower tune.grace or " if of.validated < of.grace else "lower train.validate_every or "
        return (
            f"it can never act, since trials are first compared after {of.grace} epochs, and the first stage has "
            f"{of.first} of {of.epochs}; {sooner}raise train.epochs"
        )
    if settings < of.population:
        return (
            f"it can never act, since it compares {of.population} trials and the search has {settings}; lower "
            "tune.population or raise tune.trials"
        )
    if name != HALVING:
        return f"from epoch {of.grace} of {of.epochs} on, and from {of.population} trials of a cell on"
    after = " and ".join(", ".join(map(str, of.rungs)).rsplit(", ", 1))
    rest = settings % of.population
    whole = f"; the last {rest} of {settings} are no population and train in full" if rest else ""
    return (
        f"{of.population} trials at a time are compared after {after} of {of.epochs} epochs, one in {of.reduction} "
        f"goes on{whole}"
    )


def _few(names: Sequence[str]) -> str:
    """`a, b, c and 5 more`."""
    more = len(names) - 3
    return f"{', '.join(names[:3])}{f' and {more} more' if more > 0 else ''}"
