"""Which trial is next: equal budgets, phases, and replay of the ledger. Knows nothing of Ray.

A planner is a pure function of the study and the ledger: asked again after any interruption, it gives what is missing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from optuna.trial import TrialState

from orchestrator.errors import one_line
from orchestrator.ledger.records import CurveRow, Phase, Record, Settings, canonical
from orchestrator.study.cells import Cell, Trial
from orchestrator.study.halving import Halving, Stop
from orchestrator.study.selection import Candidate, ranked, select, why_none
from orchestrator.study.sharding import Share, Whole
from orchestrator.study.space import Observation, suggest
from orchestrator.study.spec import Study
from workloads.hparams import Value

REASON_CHARS: Final = 500
"""Of the reason why a trial failed, in tables, on the page and on a terminal."""
Find = Callable[[str, Phase], Record | None]
"""Looks a trial id up in the ledger."""
Step: TypeAlias = Literal["tune", "rescore", "evaluate"]
"""What a trial is for; those that rescore are of the phase `tune`."""


@dataclass(frozen=True)
class UnderWay:
    """How many trials are being trained, and how many of their epochs they have."""

    trials: int
    epochs: int
    of: int

    def __str__(self) -> str:
        return f"{self.trials} running" + (f" ({self.epochs}/{self.of} epochs)" if self.trials else "")


@dataclass
class CellPlan:
    """The trials of one cell and what became of them, by number.

    Trials of the tune phase are those of the search, whose settings are `suggested`, and behind them those that train
    the best of these settings again with other seeds.
    """

    cell: Cell
    halving: Halving
    """Populations of the search, where it is stopped early by successive halving."""
    trials: dict[Phase, list[Trial]] = field(default_factory=lambda: {"tune": [], "evaluate": []})
    outcomes: dict[Phase, dict[int, Record]] = field(default_factory=lambda: {"tune": {}, "evaluate": {}})
    running: dict[tuple[Phase, int], int] = field(default_factory=dict)
    """Trials under way, with the epochs that they have so far."""
    suggested: list[dict[str, Value]] = field(default_factory=list)
    """Active settings of every trial of the search, defaults included."""
    repeats: dict[int, int] = field(default_factory=dict)
    """Trials of the search whose settings an earlier one has, by number: they take its outcome."""
    numbers: dict[str, int] = field(default_factory=dict)
    """The first trial of the search with some settings."""
    rescoring: dict[int, int] | None = None
    """The trial of the search whose settings a rescoring trial has, by number; None before the search has ended."""
    chosen: Candidate | None = None
    """The setting that is evaluated."""
    unselected: str = ""
    """Why tuning ended without a selected trial, beside failures."""
    charged: int = 0
    """Epochs that were given out, the unit of a fair budget."""
    study: str = ""
    """Whose it is, in a table that has the recipe of several studies."""
    replicated: bool = False
    """Whether the study repeats its tuning: then replicates stand in the report where seeds do else."""

    @property
    def row(self) -> str:
        """The name of its row in tables, which replicates share."""
        return f"{self.cell.recipe} ({self.study})" if self.study else str(self.cell.recipe)

    @property
    def label(self) -> str:
        """Its name where every replicate has a line of its own."""
        return f"{self.row}{self.cell.again}"

    def unit(self, number: int) -> int:
        """What the evaluation run with a number counts as in the report: its replicate, or itself."""
        return self.cell.replicate if self.replicated else number

    def records(self, phase: Phase) -> list[Record]:
        """Outcomes in the order of their numbers, each trial once."""
        outcomes = self.outcomes[phase]
        return [outcomes[number] for number in sorted(outcomes) if phase != "tune" or number not in self.repeats]

    @property
    def searched(self) -> list[Record]:
        """Outcomes of the search, which rescoring follows."""
        return [record for record in self.records("tune") if record.number not in (self.rescoring or {})]

    @property
    def selected(self) -> Record | None:
        """The trial of the search that has the setting that is evaluated."""
        return None if self.chosen is None else self.chosen.record

    @property
    def settings(self) -> dict[str, Value] | None:
        """The selected settings, defaults included."""
        return None if self.chosen is None else self.suggested[self.chosen.record.number]

    def failures(self) -> list[Record]:
        """Trials that failed, tuning before evaluation."""
        return [r for phase in ("tune", "evaluate") for r in self.records(phase) if r.status == "failed"]

    def missing(self) -> str:
        """Why there is no result, or fewer seeds than planned: empty when nothing is missing."""
        failed = self.failures()
        told = f"{len(failed)} failed: {reason(failed[-1])}" if failed else ""
        return "; ".join(text for text in (told, self.unselected) if text)


def reason(record: Record) -> str:
    """Why a trial failed: the first line of its error, cut, without control characters."""
    return one_line(next(iter((record.error or "").strip().splitlines()), "unknown"), REASON_CHARS)


class Planner:
    """Gives out trials and takes their records, for all cells of a study.

    `retry_failed` treats committed failures as missing; `share` says which cells are this driver's.
    """

    def __init__(
        self, study: Study, cells: Sequence[Cell], find: Find, retry_failed: bool = False, share: Share | None = None
    ) -> None:
        self.study = study
        again = study.tune.replicates > 1
        self.plans = [CellPlan(c, Halving(study.tune, c, self.settings(c)), replicated=again) for c in cells]
        self._by_name = {plan.cell.name: plan for plan in self.plans}
        self._find = find
        self._retry = retry_failed
        self._share = share or Whole()
        for plan in self.plans:
            self._advance(plan)

    @property
    def budget(self) -> dict[Step, int]:
        """Most trials of a cell, by step."""
        return self._budget(self.study.tune.trials)

    def planned(self, plan: CellPlan) -> int:
        """Trials of a cell, as far as they are known: settings that repeat are trained once."""
        budget = self._budget(self.settings(plan.cell) - len(plan.repeats))
        if plan.rescoring is not None:
            budget["rescore"] = len(plan.rescoring)
        return sum(budget.values())

    def settings(self, cell: Cell) -> int:
        """Settings that a cell tries: where nothing is searched, the published ones and those without them."""
        trials = self.study.tune.trials
        return trials if cell.axes or cell.protocol == 1 else min(trials, 1 + bool(cell.published))

    def _budget(self, settings: int) -> dict[Step, int]:
        tune = self.study.tune
        rescored = min(tune.rescore, settings)
        again = rescored * tune.rescore_seeds if rescored > 1 else 0
        return {"tune": settings, "rescore": again, "evaluate": self.study.evaluate.seeds}

    @property
    def total(self) -> int:
        """Trials of this driver's cells."""
        return sum(self.planned(plan) for plan in self.mine)

    def searches(self, trial: Trial) -> bool:
        """Whether a trial is one of the search, not one with the seed of another step."""
        return trial.phase == "tune" and trial.number < self.settings(trial.cell)

    def next(self) -> Trial | None:
        """The next trial to train, from the cell of this driver that was given the least so far.

        None when all wait for results, or for other drivers.
        """
        while (plan := self._chosen()) is not None:
            trial = next(self._waiting(plan))
            record = self._committed(trial)  # another driver on this storage may have been faster
            if record is None or plan.halving.knows(trial, record):
                plan.running[trial.phase, trial.number] = 0
                plan.charged += self._ahead(trial)
                return trial
            self.finish(trial, record)
        return None

    @property
    def mine(self) -> list[CellPlan]:
        """The cells that must be complete before this driver is done."""
        names = set(self._share.of([plan.cell.name for plan in self.plans]))
        return [plan for plan in self.plans if plan.cell.name in names]

    @property
    def under_way(self) -> UnderWay:
        """How far the trials under way are."""
        running = [
            (epochs, plan.trials[phase][number - plan.trials[phase][0].number].epochs)
            for plan in self.mine
            for (phase, number), epochs in plan.running.items()
        ]
        return UnderWay(len(running), sum(epochs for epochs, _ in running), sum(of for _, of in running))

    @property
    def done(self) -> bool:
        """Whether nothing of this driver's cells is left to give out and nothing is under way."""
        return all(self._over(plan) for plan in self.mine)

    def _chosen(self) -> CellPlan | None:
        """Of the cells with a trial to give out, the one that the share names; the least served are offered first."""
        ready = sorted((plan for plan in self.plans if any(self._waiting(plan))), key=lambda plan: plan.charged)
        name = self._share.choose([plan.cell.name for plan in ready])
        return next((plan for plan in ready if plan.cell.name == name), None)

    def finish(self, trial: Trial, record: Record) -> None:
        """Take the record of a trial; the epochs that a stopped one did not use go back to its cell."""
        plan = self._plan(trial)
        self._returned(plan, trial, record.epochs_run)
        self._take(plan, trial, record)
        self._advance(plan)
        if self._over(plan):
            self._share.leave(plan.cell.name)

    def until(self, trial: Trial) -> int:
        """Epochs until which a trial is trained before it waits for others: all, where it waits for none."""
        return self._plan(trial).halving.until(trial)

    def pause(self, trial: Trial, curve: tuple[CurveRow, ...]) -> None:
        """Take what a trial reported that came to where it waits; its checkpoint is in the storage."""
        plan = self._plan(trial)
        self._returned(plan, trial, len(curve))
        plan.halving.paused(trial, curve)
        self._settle(plan, trial.number)
        self._advance(plan)

    @property
    def stops(self) -> list[Stop]:
        """Trials that waited and are to be recorded as stopped, then to be passed to `finish`."""
        return [stop for plan in self.plans for stop in plan.halving.stops]

    def give_back(self, trial: Trial) -> None:
        """Take back a trial whose worker was lost: it is given out again."""
        plan = self._plan(trial)
        self._returned(plan, trial, plan.halving.has(trial))

    def reached(self, trial: Trial, epochs: int) -> None:
        """Note how many epochs a trial under way has, for those who watch."""
        self._plan(trial).running[trial.phase, trial.number] = epochs

    def _plan(self, trial: Trial) -> CellPlan:
        return self._by_name[trial.cell.name]

    def _over(self, plan: CellPlan) -> bool:
        """Whether nothing of a cell is left to do."""
        return not plan.running and not plan.halving.stops and not any(self._waiting(plan))

    def _ahead(self, trial: Trial) -> int:
        """Epochs for which a trial is given out."""
        halving = self._plan(trial).halving
        return max(0, halving.until(trial) - halving.has(trial))

    def _returned(self, plan: CellPlan, trial: Trial, epochs: int) -> None:
        """A trial is no longer under way, with so many epochs in all: those that it did not use go back to its cell."""
        if plan.running.pop((trial.phase, trial.number), None) is not None:
            plan.charged += epochs - plan.halving.has(trial) - self._ahead(trial)

    def _waiting(self, plan: CellPlan) -> Iterator[Trial]:
        for phase, trials in plan.trials.items():
            for trial in trials:
                there = trial.number in plan.outcomes[phase] or (phase, trial.number) in plan.running
                repeats = phase == "tune" and trial.number in plan.repeats
                if not there and not repeats and not plan.halving.waits(trial):
                    yield trial

    def _committed(self, trial: Trial) -> Record | None:
        record = self._find(trial.id, trial.phase)
        if record is None or (record.status == "failed" and self._retry):
            return None
        # One that another study of the storage stopped is trained where this one would not.
        stops = self.searches(trial) and self._plan(trial).halving.may_stop(trial)
        return record if record.status != "stopped" or stops else None

    def _add(self, plan: CellPlan, trial: Trial) -> None:
        plan.trials[trial.phase].append(trial)
        record = self._committed(trial)
        if record is not None:
            self._take(plan, trial, record)
            plan.charged += record.epochs_run

    def _take(self, plan: CellPlan, trial: Trial, record: Record) -> None:
        """Note a record under its number here: a study with another budget may have numbered the trial otherwise."""
        if plan.halving.judges(trial):
            plan.halving.saw(trial, record)
            self._settle(plan, trial.number)
        else:
            self._note(plan, trial, record)

    def _settle(self, plan: CellPlan, number: int) -> None:
        """Note the outcomes that follow from what is known of a trial's population."""
        for settled, record in plan.halving.settled(number, len(plan.suggested)):
            self._note(plan, plan.trials["tune"][settled], record)

    def _note(self, plan: CellPlan, trial: Trial, record: Record) -> None:
        outcomes = plan.outcomes[trial.phase]
        outcomes[trial.number] = record if record.number == trial.number else replace(record, number=trial.number)
        if trial.phase == "tune":
            outcomes |= {again: outcomes[first] for again, first in plan.repeats.items() if first == trial.number}

    def _advance(self, plan: CellPlan) -> None:
        """Suggest as far as the results allow; then rescore the best, select, and plan the evaluation."""
        self._suggest(plan)
        outcomes = plan.outcomes["tune"]
        if len(outcomes) < self.settings(plan.cell) or plan.trials["evaluate"]:
            return
        if plan.rescoring is None:
            self._rescore(plan)
        if len(outcomes) < len(plan.trials["tune"]):
            return
        self._select(plan)

    def _suggest(self, plan: CellPlan) -> None:
        tune, outcomes = self.study.tune, plan.outcomes["tune"]
        while len(plan.suggested) < self.settings(plan.cell):
            number = len(plan.suggested)
            known = plan.halving.known(number)
            if any(earlier not in outcomes for earlier in range(known)):
                return
            history = [
                self._observation(settings, outcomes[earlier] if earlier < known else None)
                for earlier, settings in enumerate(plan.suggested)
            ]
            settings = suggest(plan.cell, tune.sampler, tune.select_by, number, history)
            plan.suggested.append(settings)
            self._search(plan, number, settings)

    def _search(self, plan: CellPlan, number: int, settings: dict[str, Value]) -> None:
        """Add a trial of the search; all have one seed, so one whose settings are there already is that trial."""
        one_seed = plan.cell.protocol > 1
        trial = plan.cell.trial("tune", number, settings, 0 if one_seed else None)
        first = plan.numbers.setdefault(canonical(trial.settings), number) if one_seed else number
        if first == number:
            plan.halving.enter(trial)
            self._add(plan, trial)
            self._settle(plan, number)
            return
        plan.trials["tune"].append(trial)
        plan.repeats[number] = first
        if first in plan.outcomes["tune"]:
            plan.outcomes["tune"][number] = plan.outcomes["tune"][first]
        self._settle(plan, number)

    def _rescore(self, plan: CellPlan) -> None:
        """Plan further seeds of the best settings; a single one needs none."""
        tune = self.study.tune
        best = ranked(plan.searched, tune.select_by)[: tune.rescore]
        plan.rescoring = {}
        for record in best if len(best) > 1 else []:
            for seed in range(1, tune.rescore_seeds + 1):
                number = len(plan.trials["tune"])
                plan.rescoring[number] = record.number
                self._add(plan, plan.cell.trial("tune", number, plan.suggested[record.number], seed))

    def _select(self, plan: CellPlan) -> None:
        tune, seeds = self.study.tune, self.study.evaluate.seeds
        rescored: dict[int, list[Record]] = {}
        for number, first in (plan.rescoring or {}).items():
            rescored.setdefault(first, []).append(plan.outcomes["tune"][number])
        best = ranked(plan.searched, tune.select_by)[: tune.rescore]
        plan.chosen = select([(record, rescored.get(record.number, ())) for record in best], tune.select_by)
        if plan.settings is None:
            plan.unselected = why_none(plan.searched, tune.select_by)
            return
        start = plan.cell.replicate * seeds
        for seed in range(seeds):
            self._add(plan, plan.cell.trial("evaluate", start + seed, plan.settings, seed))

    def _observation(self, settings: Settings, record: Record | None) -> Observation:
        """What a sampler learns of a trial: stopped ones as pruned with their curve, those under way as running."""
        if record is None:
            return Observation(settings, TrialState.RUNNING)
        rule = self.study.tune.select_by
        value = record.score(rule)
        if record.status == "completed" and value is not None:
            return Observation(settings, TrialState.COMPLETE, value)
        _, metric, region = rule.split("/")
        curve = tuple(
            (row.epoch, score.value)
            for row in record.curve
            for score in row.val
            if (score.metric, score.region) == (metric, region) and score.value is not None
        )
        if record.status == "stopped":
            return Observation(settings, TrialState.PRUNED, None, curve)
        return Observation(settings, TrialState.FAIL)
