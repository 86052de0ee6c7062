"""Which trial is next: equal budgets, phases, and replay of the ledger. Knows nothing of Ray.

A planner is a pure function of the study and the ledger: asked again after any interruption, it gives what is missing.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from optuna.trial import TrialState

from orchestrator.ledger.records import CurveRow, Phase, Record
from orchestrator.study.allowance import Step, steps, tries
from orchestrator.study.cell_plan import CellPlan, UnderWay
from orchestrator.study.cells import Cell, Trial
from orchestrator.study.halving import Halving, Stop
from orchestrator.study.known import Asked, Find, Known
from orchestrator.study.lineage import Lineage, kept
from orchestrator.study.priority import priorities
from orchestrator.study.ready import Order, Ready
from orchestrator.study.selection import ranked, select, why_none
from orchestrator.study.sharding import Share, Whole
from orchestrator.study.space import Observation, suggest
from orchestrator.study.spec import Study
from orchestrator.study.spending import Cost, Spending
from workloads.hparams import Value

PHASES: Final[dict[Phase, int]] = {"tune": 0, "evaluate": 1}
"""Their order within a cell."""


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
        self._tries = tries(study, cells)
        again = study.tune.replicates > 1
        self.plans = [CellPlan(c, Halving(study.tune, c, self.tries(c)), replicated=again) for c in cells]
        self._by_name = {plan.cell.name: plan for plan in self.plans}
        self._places = {name: place for place, name in enumerate(self._by_name)}
        self._lineages = {plan.cell.name: Lineage(study, plan.cell) for plan in self.plans}
        self._find = find
        self._known = known or Asked(find)
        self._retry = retry_failed
        self._share = share or Whole()
        names = set(self._share.of([plan.cell.name for plan in self.plans]))
        self.mine = [plan for plan in self.plans if plan.cell.name in names]
        """The cells that must be complete before this driver is done."""
        self._ready = Ready([plan.cell.name for plan in self.mine])
        self.priorities = priorities(study.priority, cells)
        share_of_budget = len(self.mine) / max(1, len(self.plans))
        self.spending = Spending(study.study, study.budget, study.resources, share_of_budget)
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
        return steps(self.study, self.study.tune.trials)

    def planned(self, plan: CellPlan) -> int:
        """Trials of a cell, as far as they are known: settings that repeat are trained once."""
        return sum(self.steps(plan).values())

    def steps(self, plan: CellPlan) -> dict[Step, int]:
        """The same by step."""
        budget = steps(self.study, self.tries(plan.cell) - len(plan.repeats))
        if plan.rescoring is not None:
            budget["rescore"] = len(plan.rescoring)
        return budget

    def tries(self, cell: Cell) -> int:
        """Settings that a cell tries."""
        return self._tries[cell.name]

    def searches(self, trial: Trial) -> bool:
        """Whether a trial is one of the search, not one with the seed of another step."""
        return trial.phase == "tune" and trial.number < self.tries(trial.cell)

    def next(self) -> Trial | None:
        """The next trial to train, from the cell of this driver that was given the least so far.

        None when all wait for results or for other drivers, or when the study's budget is spent.
        """
        while (plan := self._chosen()) is not None:
            trial = plan.waiting[0]
            record = self._counting(trial, self._find(trial.id, trial.phase))  # another driver may have been faster
            if record is None:
                if not self._affords(plan):
                    return None
                self.spending.lend(trial, self.until(trial))
                del plan.waiting[0]
                plan.running[trial.phase, trial.number] = 0
                plan.charged += self._ahead(trial)
                self._note(plan)
                return trial
            plan.charged += record.epochs_run - plan.halving.has(trial)
            self.finish(trial, record)
        return None

    @property
    def waiting(self) -> int:
        """Trials that could be given out now."""
        return sum(len(self._by_name[name].waiting) for name in self._ready)

    def catch_up(self) -> None:
        """Take what came to be known since, for those who watch."""
        for name in [*self._ready]:
            plan, behind = self._by_name[name], True
            while behind:
                found = [(t, self._counting(t, self._known.find(t.id, t.phase))) for t in plan.waiting]
                for trial, record in found:
                    if record is not None:
                        plan.charged += record.epochs_run - plan.halving.has(trial)
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
        return not self._busy and (not self._ready or self.spent)

    @property
    def spent(self) -> bool:
        """Whether the study's budget does not reach for the next trial."""
        plan = self._chosen() if self.study.budget.bounds else None
        return plan is not None and not self._affords(plan)

    def _affords(self, plan: CellPlan) -> bool:
        """Whether the budget reaches for the next trial of a cell, and for all that is left of the cells before it."""
        if not self.study.budget.bounds:
            return True
        here, reserved = self._order(plan)[:2], Cost()
        for other in self._busy.values():
            if self._order(other)[:2] < here:
                left = self._left(other) - len(other.running)
                reserved += self.spending.cost(other.trials["tune"][0], other.trials["tune"][0].epochs).times(left)
        return self.spending.affords(plan.waiting[0], self.until(plan.waiting[0]), reserved)

    def _left(self, plan: CellPlan) -> int:
        """Trials of a cell without an outcome, as far as they are known."""
        return self.planned(plan) - sum(len(plan.records(phase)) for phase in PHASES)

    @property
    def in_order(self) -> list[CellPlan]:
        """All cells, those of a higher priority first."""
        return sorted(self.plans, key=lambda plan: -self.priorities[plan.cell.name])

    @property
    def left(self) -> int:
        """Trials of this driver's cells without an outcome, as far as they are known."""
        return sum(self._left(plan) for plan in self.mine)

    def _chosen(self) -> CellPlan | None:
        """Of the cells with a trial to give out, the one that the share names; the least served are offered first."""
        name = self._share.choose(self._ready)
        return None if name is None else self._by_name[name]

    def _note(self, plan: CellPlan) -> None:
        """Keep what is known of all cells in step with one that changed."""
        name = plan.cell.name
        self._ready.note(name, self._order(plan) if plan.waiting else None)
        if plan.running or plan.halving.stops:
            self._busy[name] = plan
        else:
            self._busy.pop(name, None)
        if name in self._planned:
            before, self._planned[name] = self._planned[name], self.planned(plan)
            self.total += self._planned[name] - before

    def _order(self, plan: CellPlan) -> Order:
        """The least comes first: high priority, then what ends soonest, then what was given the least.

        A cell that is tuned is evaluated at once, and a population that waits is decided before another one begins.
        Where the study has a budget, cells are completed one after another, so that what it reaches for is whole.
        """
        name = plan.cell.name
        place = self._places[name] if self.study.budget.bounds else 0
        return (-self.priorities[name], place, not plan.trials["evaluate"], not plan.halving.holds, plan.charged)

    def finish(self, trial: Trial, record: Record) -> None:
        """Take the record of a trial; the epochs that a stopped one did not use go back to its cell."""
        plan = self._plan(trial)
        if not self._returned(plan, trial, record.epochs_run):
            plan.waiting = [other for other in plan.waiting if other is not trial and other.id != trial.id]
        self._take(plan, trial, record)
        self._advance(plan)
        self._note(plan)
        if plan.cell.name not in self._busy and not plan.waiting:
            self._share.leave(plan.cell.name)

    def until(self, trial: Trial) -> int:
        """Epochs until which a trial is trained before it waits for others: all, where it waits for none."""
        return self._plan(trial).halving.until(trial)

    def curve(self, trial: Trial) -> tuple[CurveRow, ...]:
        """What a trial reported when it waited last: others were judged by it, so its record says it in any case."""
        return self._plan(trial).halving.curve(trial)

    def pause(self, trial: Trial, curve: tuple[CurveRow, ...]) -> None:
        """Take what a trial reported that came to where it waits; its checkpoint is in the storage."""
        plan = self._plan(trial)
        self._returned(plan, trial, len(curve))
        plan.halving.paused(trial, curve)
        self._settle(plan, trial.number)
        self._advance(plan)
        self._note(plan)

    @property
    def stops(self) -> list[Stop]:
        """Trials that waited and are to be recorded as stopped, then to be passed to `finish`."""
        return [stop for plan in self._busy.values() for stop in plan.halving.stops]

    def give_back(self, trial: Trial) -> None:
        """Take back a trial whose worker was lost: it is given out again."""
        plan = self._plan(trial)
        self._returned(plan, trial, plan.halving.has(trial))
        self.spending.give_back(trial)
        self._wait(plan, trial)
        self._note(plan)

    def reached(self, trial: Trial, epochs: int) -> None:
        """Note how many epochs a trial under way has, for those who watch."""
        self._plan(trial).running[trial.phase, trial.number] = epochs

    def _plan(self, trial: Trial) -> CellPlan:
        return self._by_name[trial.cell.name]

    def _wait(self, plan: CellPlan, trial: Trial) -> None:
        insort(plan.waiting, trial, key=lambda one: (PHASES[one.phase], one.number))

    def _ahead(self, trial: Trial) -> int:
        """Epochs for which a trial is given out."""
        halving = self._plan(trial).halving
        return max(0, halving.until(trial) - halving.has(trial))

    def _returned(self, plan: CellPlan, trial: Trial, epochs: int) -> bool:
        """Whether a trial was under way, now with so many epochs: those that it did not use go back to its cell."""
        if plan.running.pop((trial.phase, trial.number), None) is None:
            return False
        plan.charged += epochs - plan.halving.has(trial) - self._ahead(trial)
        return True

    def _counting(self, trial: Trial, record: Record | None) -> Record | None:
        """A record that ends its trial, or says more of it than is known.

        One that another study of the storage stopped is trained further where this one would not have stopped it.
        """
        halving = self._plan(trial).halving
        if record is None or (record.status == "failed" and self._retry) or halving.knows(trial, record):
            return None
        stops = self.searches(trial) and halving.may_stop(trial)
        return record if record.status != "stopped" or stops else None

    def _add(self, plan: CellPlan, trial: Trial) -> None:
        plan.trials[trial.phase].append(trial)
        record = self._counting(trial, self._known.find(trial.id, trial.phase))
        if record is None:
            self._wait(plan, trial)
            return
        self._take(plan, trial, record)
        plan.charged += record.epochs_run

    def _take(self, plan: CellPlan, trial: Trial, record: Record) -> None:
        self.spending.take(trial, record, mine=plan.cell.name in self._planned)
        if plan.halving.judges(trial):
            plan.halving.saw(trial, record)
            self._settle(plan, trial.number)
        else:
            self._end(plan, trial, record)

    def _settle(self, plan: CellPlan, number: int) -> None:
        """What follows from what is known of a trial's population: outcomes, and who can be given out."""
        members = plan.halving.members(number)
        if not members:
            return
        for settled, record in plan.halving.settled(number, len(plan.suggested)):
            self._end(plan, plan.trials["tune"][settled], record)
        plan.waiting = [trial for trial in plan.waiting if trial.phase != "tune" or trial.number not in members]
        for trial in members.values():
            there = trial.number in plan.outcomes["tune"] or ("tune", trial.number) in plan.running
            if not there and not plan.halving.waits(trial):
                self._wait(plan, trial)

    def _end(self, plan: CellPlan, trial: Trial, record: Record) -> None:
        """Note an outcome under its number here: a study with another budget may have numbered the trial otherwise."""
        outcomes = plan.outcomes[trial.phase]
        outcomes[trial.number] = record if record.number == trial.number else record.renumbered(trial.number)
        if trial.phase == "tune":
            outcomes |= {again: outcomes[first] for again, first in plan.repeats.items() if first == trial.number}

    def _advance(self, plan: CellPlan) -> None:
        """Suggest as far as the results allow; then rescore the best, select, and plan the evaluation."""
        self._suggest(plan)
        outcomes = plan.outcomes["tune"]
        if len(outcomes) < self.tries(plan.cell) or plan.trials["evaluate"]:
            return
        tune = self.study.tune
        best = ranked(plan.searched, tune.rules, tune.pick)[: tune.rescore]
        if plan.rescoring is None:
            self._rescore(plan, best)
        if len(outcomes) < len(plan.trials["tune"]):
            return
        self._select(plan, best)

    def _suggest(self, plan: CellPlan) -> None:
        lineage = self._lineages[plan.cell.name]
        outcomes = plan.outcomes["tune"]
        while len(plan.suggested) < self.tries(plan.cell):
            number = len(plan.suggested)
            while (earlier := len(lineage.told)) < plan.halving.known(number):
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
            plan.halving.enter(trial)
            self._add(plan, trial)
            self._settle(plan, number)
            return
        plan.trials["tune"].append(trial)
        plan.repeats[number] = first
        if first in plan.outcomes["tune"]:
            plan.outcomes["tune"][number] = plan.outcomes["tune"][first]
        self._settle(plan, number)

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

    def _rescore(self, plan: CellPlan, best: Sequence[Record]) -> None:
        """Plan further seeds of the best settings; a single one needs none."""
        plan.rescoring = {}
        for record in best if len(best) > 1 else []:
            for seed in range(1, self.study.tune.rescore_seeds + 1):
                number = len(plan.trials["tune"])
                plan.rescoring[number] = record.number
                self._add(plan, plan.trials["tune"][record.number].again("tune", number, seed))

    def _select(self, plan: CellPlan, best: Sequence[Record]) -> None:
        tune, seeds = self.study.tune, self.study.evaluate.seeds
        rescored: dict[int, list[Record]] = {}
        for number, first in (plan.rescoring or {}).items():
            rescored.setdefault(first, []).append(plan.outcomes["tune"][number])
        plan.chosen = select([(r, rescored.get(r.number, ())) for r in best], tune.rules, tune.pick)
        if plan.chosen is None:
            plan.unselected = why_none(plan.searched, tune.rules)
            return
        start, selected = plan.cell.replicate * seeds, plan.trials["tune"][plan.chosen.record.number]
        for seed in range(seeds):
            self._add(plan, selected.again("evaluate", start + seed, seed))
