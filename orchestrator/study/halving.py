"""Successive halving in one cell: what its trials reported, who trains on, who waits, and who is to be stopped.

Populations are the numbers 0 … P-1, P … 2P-1 and so on. The last one, where the search has fewer trials left, is not
whole and trains in full: more trials may make it whole later. Outcomes follow from learning curves alone. So a trial
that another study of the storage trained further counts as stopped here, where it would have been.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.ledger.records import CurveRow, Record, ScoreRow
from orchestrator.study.cells import Cell, Trial
from orchestrator.study.keys import Tune
from orchestrator.study.rules import HALVING
from orchestrator.study.rungs import Climb, Goal, errors, goals, kept
from orchestrator.study.stopping import Limits, limits


@dataclass(frozen=True)
class Stop:
    """A trial that was given up at a rung: its learning curve until there, and the scores that it is recorded with."""

    trial: Trial
    curve: tuple[CurveRow, ...]
    val: tuple[ScoreRow, ...]


class Halving:
    """The populations of a cell whose search tries so many `settings`, none of them under another rule than halving."""

    def __init__(self, tune: Tune, cell: Cell | None = None, settings: int = 0) -> None:
        of = limits(tune, cell) if tune.scheduler == HALVING and cell is not None else None
        self._rule, self._lag = tune.select_by, tune.parallel - 1
        self._limits = of or Limits(epochs=0, first=0, grace=1, population=1, reduction=1)
        self._acts = of is not None and bool(of.rungs)
        self._whole = settings - settings % self._limits.population if self._acts else 0
        self._others = tune.scheduler not in {"none", HALVING}
        self._trials: dict[int, Trial] = {}
        self._records: dict[int, Record] = {}
        self._curves: dict[int, tuple[CurveRow, ...]] = {}
        self._goals: dict[int, Goal] = {}
        self._stops: dict[int, Stop] = {}

    @property
    def most(self) -> int:
        """The most trials that wait at a time, each with a checkpoint."""
        return self._limits.population if self._whole else 0

    def known(self, number: int) -> int:
        """How many trials a suggestion knows the outcomes of: those of earlier populations, or `tune.parallel` behind.

        A population is decided together, so its suggestions can know nothing of one another.
        """
        return number - number % self._limits.population if self._acts else max(0, number - self._lag)

    def judges(self, trial: Trial) -> bool:
        """Whether a trial is of a whole population, and has the epochs that are compared."""
        return trial.phase == "tune" and trial.number < self._whole and trial.epochs == self._limits.epochs

    def may_stop(self, trial: Trial) -> bool:
        """Whether a trial of the search can be stopped at all, here or by another rule."""
        return self._others or self.judges(trial)

    def enter(self, trial: Trial) -> None:
        """A trial of the search was suggested."""
        if self.judges(trial):
            self._trials[trial.number] = trial

    def curve(self, trial: Trial) -> tuple[CurveRow, ...]:
        """What a trial is known to have reported."""
        return self._curves.get(trial.number, ()) if self.judges(trial) else ()

    def has(self, trial: Trial) -> int:
        """Epochs that a trial is known to have."""
        return len(self.curve(trial))

    def knows(self, trial: Trial, record: Record) -> bool:
        """Whether a record is known already: it is of a trial that has to train further here."""
        known = self._records.get(trial.number) if self.judges(trial) else None
        return known is not None and (known.trial_id, known.attempt) == (record.trial_id, record.attempt)

    def until(self, trial: Trial) -> int:
        """Epochs until which a trial trains before it waits for others: all, where it waits for none."""
        return self._goals[trial.number].epochs if self.judges(trial) and trial.number in self._goals else trial.epochs

    def waits(self, trial: Trial) -> bool:
        """Whether a trial is where it has to wait for the others of its population."""
        goal, record = self._goals.get(trial.number), self._records.get(trial.number)
        if goal is None or not self.judges(trial):
            return False
        return goal.stops or (record is not None and record.status == "failed") or self.has(trial) >= goal.epochs

    def saw(self, trial: Trial, record: Record) -> None:
        """A trial has a record."""
        self._records[trial.number] = record
        self._stops.pop(trial.number, None)
        self.paused(trial, record.curve)

    def paused(self, trial: Trial, curve: tuple[CurveRow, ...]) -> None:
        """A trial reported so many epochs, and its checkpoint is in the storage."""
        if len(curve) > self.has(trial):
            self._curves[trial.number] = curve

    @property
    def stops(self) -> list[Stop]:
        """Trials that are to be recorded as stopped."""
        return list(self._stops.values())

    @property
    def holds(self) -> bool:
        """Whether trials wait for others, with checkpoints in the storage."""
        return any(number not in self._records for number in self._curves)

    def members(self, number: int) -> dict[int, Trial]:
        """The trials of a trial's population, by number; none where it is not whole."""
        first = number - number % self._limits.population
        return {n: self._trials[n] for n in range(first, first + self._limits.population) if n in self._trials}

    def settled(self, number: int, suggested: int) -> Iterator[tuple[int, Record]]:
        """Outcomes of the population of a trial, as far as they follow when so many settings are suggested."""
        members = self.members(number)
        if not members or suggested < number - number % self._limits.population + self._limits.population:
            return
        made = goals(
            self._limits.rungs, self._limits.epochs, self._limits.reduction, {n: self._climb(n) for n in members}
        )
        self._goals |= made
        for member, goal in made.items():
            record = self._records.get(member)
            if goal.stops:
                yield from self._stopped(member, goal.epochs, record)
            elif record is not None and self._ended(member, record, goal):
                yield member, record

    def _climb(self, number: int) -> Climb:
        record, settings = self._records.get(number), self._trials[number].settings
        reached = errors(self._curves.get(number, ()), settings, self._rule, self._limits.rungs)
        return Climb(reached, failed=record is not None and record.status == "failed")

    def _ended(self, number: int, record: Record, goal: Goal) -> bool:
        """Whether a record is the outcome of a trial that was not stopped here."""
        if record.status == "completed":
            return goal.epochs == self._limits.epochs
        return record.status == "failed" and self.has(self._trials[number]) < goal.epochs

    def _stopped(self, number: int, epochs: int, record: Record | None) -> Iterator[tuple[int, Record]]:
        curve = self._curves[number][:epochs]
        val = kept(curve, self._trials[number].settings).val
        if record is None or len(record.curve) < epochs:
            self._stops[number] = Stop(self._trials[number], curve, val)
        elif record.status == "stopped" and record.epochs_run == epochs:
            yield number, record
        else:
            known = {name: getattr(record, name) for name in Record.__dataclass_fields__}
            changes = {"status": "stopped", "epochs_run": epochs, "curve": curve, "val": val}
            yield number, Record(**{**known, **changes, "kept_epoch": None, "error": None})
