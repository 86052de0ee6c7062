"""What a study may spend and has spent: trials, epochs and device time of what it trains itself."""

from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Final

from orchestrator.ledger.records import Record
from orchestrator.study.cells import Trial
from orchestrator.study.keys import Budget
from orchestrator.study.resources import Resources

HOUR_S: Final = 3600.0


@dataclass(frozen=True)
class Cost:
    """Trials, epochs of all models that they train, and seconds of devices; a limit where there is one, else inf."""

    trials: float = 0
    epochs: float = 0
    device_s: float = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.trials + other.trials, self.epochs + other.epochs, self.device_s + other.device_s)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.trials - other.trials, self.epochs - other.epochs, self.device_s - other.device_s)

    def times(self, number: int) -> "Cost":
        """So many of it."""
        return Cost(number * self.trials, number * self.epochs, number * self.device_s)

    def within(self, limit: "Cost") -> bool:
        """Whether nothing is more than its limit."""
        return all(value <= most + 1e-9 for value, most in zip(vars(self).values(), vars(limit).values(), strict=True))


def limit(budget: Budget, share: float = 1.0) -> Cost:
    """What a driver may spend that has a share of a study."""

    def part(value: float | None) -> float:
        return inf if value is None else value * share

    hours = min(part(budget.device_hours), part(budget.hours_of_money))
    return Cost(part(budget.trials), part(budget.epochs), hours * HOUR_S)


class Spending:
    """The costs of one study's trials, against its budget.

    A trial is given out when what was spent, what is under way at its full cost and the trial itself are within the
    budget, so trials and epochs are never more. Seconds are foreseen from those of an epoch of the same cell, workload
    or study so far; before the first record nothing is foreseen, and all workers begin.

    `resources` say what part of a device a trial has (`Share.devices`).
    """

    def __init__(self, study: str, budget: Budget, resources: Resources, share: float = 1.0) -> None:
        self._study = study

        @cache
        def devices(workload: str) -> float:
            return resources.share(workload).devices

        self._devices = devices
        self.limit = limit(budget, share)
        self.spent = Cost()
        self._under_way: dict[str, Cost] = {}
        self._rates: dict[str, list[float]] = {}

    def __str__(self) -> str:
        hours = self.spent.device_s / HOUR_S
        return f"{self.spent.trials:,.0f} trials, {self.spent.epochs:,.0f} epochs, {hours:.3g} device hours"

    def affords(self, trial: Trial, epochs: int, reserved: Cost) -> bool:
        """Whether the budget reaches for so many epochs of a trial beside what is reserved for others."""
        total = self.spent + reserved
        for cost in self._under_way.values():
            total += cost
        room = self.limit.device_s > total.device_s
        return room and (total + self.cost(trial, epochs) - self._had(trial)).within(self.limit)

    def lend(self, trial: Trial, epochs: int) -> None:
        """So many epochs of a trial are given out, those that it had before included."""
        self._under_way[trial.id] = self.cost(trial, epochs)

    def give_back(self, trial: Trial) -> None:
        """A trial is no longer under way, and left nothing."""
        self._under_way.pop(trial.id, None)

    def take(self, trial: Trial, record: Record, mine: bool = True) -> None:
        """A trial has a record; another study's cost nothing here, nor do those of other drivers' cells."""
        self._under_way.pop(trial.id, None)
        epochs = trial.cell.recipe.trainings * record.epochs_run
        device_s = record.wall_s * self._devices(trial.cell.workload)
        for name in ("", trial.cell.workload, trial.cell.name):
            rate = self._rates.setdefault(name, [0.0, 0])
            rate[0] += device_s
            rate[1] += epochs
        if mine and record.study == self._study:
            self.spent += Cost(1, epochs, device_s)

    def _had(self, trial: Trial) -> Cost:
        return self._under_way.get(trial.id, Cost())

    def cost(self, trial: Trial, epochs: int) -> Cost:
        """What so many epochs of a trial cost, as far as it is known."""
        of_all = trial.cell.recipe.trainings * epochs
        return Cost(1, of_all, of_all * self._rate(trial.cell.name, trial.cell.workload, ""))

    def _rate(self, *names: str) -> float:
        """Device seconds of an epoch of a model, by the first of some names that has a record."""
        for name in names:
            seconds, epochs = self._rates.get(name, (0.0, 0))
            if epochs:
                return seconds / epochs
        return 0.0
