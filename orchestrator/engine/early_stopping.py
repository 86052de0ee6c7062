"""Early stopping of a search by Ray Tune's schedulers, on an `epoch` of our own: one population per cell.

They decide by who has arrived, so a study that they stop is not repeatable to the bit; `halving`, which is repeatable,
is the planner's own (`orchestrator/study/halving.py`).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from orchestrator.errors import BadInput
from orchestrator.ledger.records import CurveRow
from orchestrator.study.keys import Tune
from orchestrator.study.planner import Planner
from orchestrator.study.rules import HALVING, installed
from orchestrator.study.space import direction
from orchestrator.study.stopping import Limits, limits

EPOCH: Final = "epoch"
VALUE: Final = "value"
"""What a scheduler is told of a trial: how many epochs it has, and the score of the last one."""

Maker: TypeAlias = Callable[[Limits, str], Sequence[TrialScheduler]]
"""Makes the populations of a cell, among which its trials are dealt by number; the mode is `min` or `max`.

A scheduler reads `epoch` and `value` from a result, knows trials by their `trial_id`, and never pauses one.
"""


def _asha(of: Limits, mode: str, grace: int | None = None) -> list[TrialScheduler]:
    return [
        ASHAScheduler(
            time_attr=EPOCH,
            metric=VALUE,
            mode=mode,
            max_t=of.epochs,
            grace_period=grace or of.grace,
            reduction_factor=of.reduction,
        )
    ]


def _hyperband(of: Limits, mode: str) -> list[TrialScheduler]:
    """Hyperband's brackets, asynchronous: each begins to stop a rung later than the one before."""
    return [bracket for rung in of.rungs for bracket in _asha(of, mode, rung)]


def _median(of: Limits, mode: str) -> list[TrialScheduler]:
    return [
        MedianStoppingRule(
            time_attr=EPOCH,
            metric=VALUE,
            mode=mode,
            grace_period=of.grace,
            min_samples_required=of.population - 1,
            min_time_slice=math.inf,  # where it has too few samples it goes on, and does not pause
        )
    ]


MAKERS: Final[dict[str, Maker | None]] = {
    "none": None,
    HALVING: None,
    "asha": _asha,
    "hyperband": _hyperband,
    "median": _median,
}
"""By the study's `tune.scheduler`; None where Tune stops nothing."""


def maker(tune: Tune) -> Maker | None:
    """The maker of a study's rule; raises BadInput for an installed one that cannot be loaded."""
    if tune.scheduler in MAKERS:
        return MAKERS[tune.scheduler]
    try:
        made: Maker = installed()[tune.scheduler].load()
    except Exception as err:  # code of others, at import
        raise BadInput(f"the scheduler {tune.scheduler!r} cannot be loaded: {type(err).__name__}: {err}") from err
    return made


class _Climber:
    """A trial, as far as a scheduler looks at one: by the id of its content, under which it may begin again."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id
        self.epochs = 0


class _Population:
    """The trials of a cell that are compared with one another."""

    def __init__(self, scheduler: TrialScheduler, least: int, first: int) -> None:
        self._scheduler, self._least, self._first = scheduler, least, first
        self._seen: defaultdict[int, set[str]] = defaultdict(set)
        self._climbers: dict[str, _Climber] = {}

    def judge(self, trial_id: str, row: CurveRow, value: float | None) -> bool:
        """Whether a trial is to be stopped after an epoch; one that it reported before says nothing new."""
        climber = self._climbers.get(trial_id)
        if climber is None:
            climber = self._climbers[trial_id] = _Climber(trial_id)
            self._scheduler.on_trial_add(None, climber)
        if value is None or row.epoch < climber.epochs or row.epoch >= self._first:
            return False
        climber.epochs = row.epoch + 1
        self._seen[row.epoch].add(trial_id)
        decision = self._scheduler.on_trial_result(None, climber, {EPOCH: row.epoch + 1, VALUE: value})
        return decision == TrialScheduler.STOP and len(self._seen[row.epoch]) >= self._least


class PerCellScheduler(FIFOScheduler):  # type: ignore[misc]
    """One early-stopping population per cell: cells have different losses, and would stop each other's trials.

    Trials that rescore or evaluate are never stopped, and no trial is before `tune.population` of its cell have come as
    far, or in a later stage of its plan. Rungs are rebuilt from the learning curves in the ledger.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: it is rebuilt from the ledger, not from Tune's files."""
        return {}

    def __init__(self, planner: Planner, make: Maker) -> None:
        super().__init__()
        tune = planner.study.tune
        self._rule = tune.select_by
        mode = "min" if direction(self._rule) == "minimize" else "max"
        self._cells: dict[str, list[_Population]] = {}
        for plan in planner.plans:
            of = limits(tune, plan.cell)
            acts = of is not None and of.rungs
            made = make(of, mode) if of is not None and acts else ()
            self._cells[plan.cell.name] = [_Population(one, of.population, of.first) for one in made if of is not None]
            for record in plan.searched:
                self._judge(plan.cell.name, record.number, record.trial_id, record.curve)

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """The metric is the study's rule, not Tune's."""
        return True

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Go on or stop."""
        job = trial.config["jobs"][0]  # those of the search are alone
        if not trial.config["searches"] or result["done"]:
            return str(TrialScheduler.CONTINUE)
        stops = self._judge(trial.config["cell"], job["number"], job["trial_id"], map(CurveRow.of, result["rows"]))
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)

    def _judge(self, cell: str, number: int, trial_id: str, rows: Iterable[CurveRow]) -> bool:
        """Whether a trial is to be stopped after the last of some epochs."""
        populations = self._cells[cell]
        if not populations:
            return False
        population = populations[number % len(populations)]
        decisions = [population.judge(trial_id, row, row.score(self._rule)) for row in rows]
        return bool(decisions) and decisions[-1]
