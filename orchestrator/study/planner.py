"""Which trial is next: equal budgets, phases, and replay of the ledger. Knows nothing of Ray.

A planner is a pure function of the study and the ledger: asked again after any interruption, it gives what is missing.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from optuna.trial import TrialState

from orchestrator.errors import one_line
from orchestrator.ledger.records import Phase, Record
from orchestrator.study.cells import Cell, Trial
from orchestrator.study.known import Asked, Find, Known
from orchestrator.study.lineage import Lineage, kept
from orchestrator.study.ready import Ready
from orchestrator.study.samplers import sampler_named
from orchestrator.study.selection import Candidate, ranked, select, why_none
from orchestrator.study.sharding import Share, Whole
from orchestrator.study.space import Observation, suggest
from orchestrator.study.spec import Study
from workloads.hparams import Value

REASON_CHARS: Final = 500
"""Of the reason why a trial failed, in tables, on the page and on a terminal."""
PHASES: Final[dict[Phase, int]] = {"tune": 0, "evaluate": 1}
"""Their order within a cell."""
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
    trials: dict[Phase, list[Trial]] = field(default_factory=lambda: {"tune": [], "evaluate": []})
    outcomes: dict[Phase, dict[int, Record]] = field(default_factory=lambda: {"tune": {}, "evaluate": {}})
    running: dict[tuple[Phase, int], int] = field(default_factory=dict)
    """Trials under way, with the epochs that they have so far."""
    waiting: list[Trial] = field(default_factory=list)
    """Trials that can be given out, in their order."""
    suggested: list[dict[str, Value]] = field(default_factory=list)
    """Active settings of every trial of the search, defaults included."""
    repeats: dict[int, int] = field(default_factory=dict)
    """Trials of the search whose settings an earlier one has, by number: they take its outcome."""
    numbers: dict[str, int] = field(default_factory=dict)
    """The first trial of the search with some settings, by the id that they have in common."""
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

    `retry_failed` treats committed failures as missing; `share` says which cells are this driver's. `known` is what was
    read of the ledger at once: `find` then looks only for trials that are about to be given out.
    """

    def __init__(
        self,
        study: Study,
        cells: Sequence[Cell],
        find: Find,
        retry_failed: bool = False,
        share: Share | None = None,
        known: Known | None = None,
    ) -> None:
        self.study = study
        self.plans = [CellPlan(cell, replicated=study.tune.replicates > 1) for cell in cells]
        self._by_name = {plan.cell.name: plan for plan in self.plans}
        self._lineages = {plan.cell.name: Lineage(study, plan.cell) for plan in self.plans}
        self._sizes = {cell.name: sampler_named(study.tune.sampler).size(cell) for cell in cells}
        self._find = find
        self._known = known or Asked(find)
        self._retry = retry_failed
        self._share = share or Whole()
        names = set(self._share.of([plan.cell.name for plan in self.plans]))
        self.mine = [plan for plan in self.plans if plan.cell.name in names]
        """The cells that must be complete before this driver is done."""
        self._ready = Ready([plan.cell.name for plan in self.mine])
        self._busy: dict[str, CellPlan] = {}
        self._planned = {plan.cell.name: 0 for plan in self.mine}
        self.total = 0
        """Trials of this driver's cells."""
        for plan in self.plans:
            self._advance(plan)
            self._note(plan)

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
        trials, size = self.study.tune.trials, self._sizes[cell.name]
        if cell.axes or cell.protocol == 1:
            return trials if size is None else min(trials, 1 + size)
        return min(trials, 1 + bool(cell.published))

    def _budget(self, settings: int) -> dict[Step, int]:
        tune = self.study.tune
        rescored = min(tune.rescore, settings)
        again = rescored * tune.rescore_seeds if rescored > 1 else 0
        return {"tune": settings, "rescore": again, "evaluate": self.study.evaluate.seeds}

    def searches(self, trial: Trial) -> bool:
        """Whether a trial is one of the search, not one with the seed of another step."""
        return trial.phase == "tune" and trial.number < self.settings(trial.cell)

    def next(self) -> Trial | None:
        """The next trial to train, from the cell of this driver that was given the least so far.

        None when all wait for results, or for other drivers.
        """
        while (plan := self._chosen()) is not None:
            trial = plan.waiting[0]
            record = self._counting(self._find(trial.id, trial.phase))  # another driver may have been faster
            if record is None:
                del plan.waiting[0]
                plan.running[trial.phase, trial.number] = 0
                plan.charged += trial.epochs
                self._note(plan)
                return trial
            plan.charged += record.epochs_run
            self.finish(trial, record)
        return None

    def catch_up(self) -> None:
        """Take what came to be known since, for those who watch."""
        for name in [*self._ready]:
            plan, behind = self._by_name[name], True
            while behind:
                found = [(trial, self._counting(self._known.find(trial.id, trial.phase))) for trial in plan.waiting]
                for trial, record in found:
                    if record is not None:
                        plan.charged += record.epochs_run
                        self.finish(trial, record)
                behind = any(record is not None for _, record in found)

    @property
    def under_way(self) -> UnderWay:
        """How far the trials under way are."""
        running = [
            (epochs, plan.trials[phase][number - plan.trials[phase][0].number].epochs)
            for plan in self._busy.values()
            for (phase, number), epochs in plan.running.items()
        ]
        return UnderWay(len(running), sum(epochs for epochs, _ in running), sum(of for _, of in running))

    @property
    def done(self) -> bool:
        """Whether nothing of this driver's cells is left to give out and nothing is under way."""
        return not self._busy and not self._ready

    def _chosen(self) -> CellPlan | None:
        """Of the cells with a trial to give out, the one that the share names; the least served are offered first."""
        name = self._share.choose(self._ready)
        return None if name is None else self._by_name[name]

    def _note(self, plan: CellPlan) -> None:
        """Keep what is known of all cells in step with one that changed."""
        name = plan.cell.name
        self._ready.note(name, plan.charged if plan.waiting else None)
        if plan.running:
            self._busy[name] = plan
        else:
            self._busy.pop(name, None)
        if name in self._planned:
            before, self._planned[name] = self._planned[name], self.planned(plan)
            self.total += self._planned[name] - before

    def finish(self, trial: Trial, record: Record) -> None:
        """Take the record of a trial; the epochs that a stopped one did not use go back to its cell."""
        plan = self._plan(trial)
        if plan.running.pop((trial.phase, trial.number), None) is not None:
            plan.charged -= trial.epochs - record.epochs_run
        else:
            plan.waiting = [other for other in plan.waiting if other is not trial and other.id != trial.id]
        self._take(plan, trial, record)
        self._advance(plan)
        self._note(plan)
        if not plan.running and not plan.waiting:
            self._share.leave(plan.cell.name)

    def give_back(self, trial: Trial) -> None:
        """Take back a trial whose worker was lost: it is given out again."""
        plan = self._plan(trial)
        plan.running.pop((trial.phase, trial.number), None)
        plan.charged -= trial.epochs
        self._wait(plan, trial)
        self._note(plan)

    def reached(self, trial: Trial, epochs: int) -> None:
        """Note how many epochs a trial under way has, for those who watch."""
        self._plan(trial).running[trial.phase, trial.number] = epochs

    def _plan(self, trial: Trial) -> CellPlan:
        return self._by_name[trial.cell.name]

    def _wait(self, plan: CellPlan, trial: Trial) -> None:
        insort(plan.waiting, trial, key=lambda one: (PHASES[one.phase], one.number))

    def _counting(self, record: Record | None) -> Record | None:
        """A record that ends its trial."""
        return None if record is not None and record.status == "failed" and self._retry else record

    def _add(self, plan: CellPlan, trial: Trial) -> None:
        plan.trials[trial.phase].append(trial)
        record = self._counting(self._known.find(trial.id, trial.phase))
        if record is None:
            self._wait(plan, trial)
            return
        self._take(plan, trial, record)
        plan.charged += record.epochs_run

    def _take(self, plan: CellPlan, trial: Trial, record: Record) -> None:
        """Note an outcome under its number here: a study with another budget may have numbered the trial otherwise."""
        outcomes = plan.outcomes[trial.phase]
        outcomes[trial.number] = record if record.number == trial.number else record.renumbered(trial.number)
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
        lineage, lag = self._lineages[plan.cell.name], self.study.tune.parallel - 1
        outcomes = plan.outcomes["tune"]
        while len(plan.suggested) < self.settings(plan.cell):
            number = len(plan.suggested)
            while (earlier := len(lineage.told)) < number - lag:
                if earlier not in outcomes:
                    return
                lineage.tell(plan.suggested[earlier], outcomes[earlier])
            self._search(plan, number, lineage)

    def _search(self, plan: CellPlan, number: int, lineage: Lineage) -> None:
        """Add a trial of the search; all have one seed, so one whose settings are there already is that trial."""
        one_seed = plan.cell.protocol > 1
        settings, trial = self._suggestion(plan, number, 0 if one_seed else number, lineage)
        plan.suggested.append(settings)
        first = plan.numbers.setdefault(trial.id, number) if one_seed else number
        if first == number:
            self._add(plan, trial)
            return
        plan.trials["tune"].append(trial)
        plan.repeats[number] = first
        if first in plan.outcomes["tune"]:
            plan.outcomes["tune"][number] = plan.outcomes["tune"][first]

    def _suggestion(self, plan: CellPlan, number: int, seed: int, lineage: Lineage) -> tuple[dict[str, Value], Trial]:
        """The settings of a trial of the search, as the ledger keeps them, else as the sampler gives them."""
        cell, tune, key = plan.cell, self.study.tune, lineage.key(number)
        record = self._known.searched(key)
        found = None if record is None else kept(cell, number, record, cell.seed("tune", seed))
        if found is not None:
            return found
        under_way = [Observation(settings, TrialState.RUNNING) for settings in plan.suggested[len(lineage.told) :]]
        settings = suggest(cell, tune.sampler, tune.rules, number, [*lineage.told, *under_way])
        return settings, replace(cell.trial("tune", number, settings, seed), search=key)

    def _rescore(self, plan: CellPlan) -> None:
        """Plan further seeds of the best settings; a single one needs none."""
        tune = self.study.tune
        best = ranked(plan.searched, tune.rules, tune.pick)[: tune.rescore]
        plan.rescoring = {}
        for record in best if len(best) > 1 else []:
            for seed in range(1, tune.rescore_seeds + 1):
                number = len(plan.trials["tune"])
                plan.rescoring[number] = record.number
                self._add(plan, plan.trials["tune"][record.number].again("tune", number, seed))

    def _select(self, plan: CellPlan) -> None:
        tune, seeds = self.study.tune, self.study.evaluate.seeds
        rescored: dict[int, list[Record]] = {}
        for number, first in (plan.rescoring or {}).items():
            rescored.setdefault(first, []).append(plan.outcomes["tune"][number])
        best = ranked(plan.searched, tune.rules, tune.pick)[: tune.rescore]
        plan.chosen = select([(r, rescored.get(r.number, ())) for r in best], tune.rules, tune.pick)
        if plan.chosen is None:
            plan.unselected = why_none(plan.searched, tune.rules)
            return
        start, selected = plan.cell.replicate * seeds, plan.trials["tune"][plan.chosen.record.number]
        for seed in range(seeds):
            self._add(plan, selected.again("evaluate", start + seed, seed))
