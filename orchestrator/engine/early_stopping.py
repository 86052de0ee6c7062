"""Early stopping of tuning trials: one population per cell, on top of Ray Tune's schedulers.

A scheduler decides by who has arrived, so a study that stops early is not repeatable to the bit; `none` is the default.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from orchestrator.ledger.records import CurveRow, ScoreRow
from orchestrator.study.planner import Planner
from orchestrator.study.space import direction


def _asha(epochs: int, mode: str) -> TrialScheduler:
    return ASHAScheduler(
        time_attr="epoch",
        metric="value",
        mode=mode,
        max_t=max(epochs, 1),
        grace_period=max(1, epochs // 9),
        reduction_factor=3,
    )


SCHEDULERS: Final[dict[str, Callable[[int, str], TrialScheduler] | None]] = {"none": None, "asha": _asha}
"""Makers by the study's `tune.scheduler`, called with the epochs of a trial and `min` or `max`."""


class PerCellScheduler(FIFOScheduler):  # type: ignore[misc]
    """One early-stopping population per cell: cells have different losses, and would stop each other's trials.

    Trials that rescore or evaluate are never stopped, and no trial is before `POPULATION` of its cell have come as far.
    Rungs are rebuilt from the learning curves in the ledger.
    """

    POPULATION: Final = 9

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: it is rebuilt from the ledger, not from Tune's files."""
        return {}

    def __init__(self, planner: Planner, make: Callable[[int, str], TrialScheduler], rule: str) -> None:
        super().__init__()
        self._make, self._rule = make, rule
        self._cells: dict[str, TrialScheduler] = {}
        self._seen: Counter[tuple[str, int]] = Counter()
        for plan in planner.plans:
            for record in plan.searched:
                past = _Past(record.trial_id)
                scheduler = self._of(plan.cell.name, record.epochs)
                scheduler.on_trial_add(None, past)
                for row in record.curve:
                    self._judge(plan.cell.name, scheduler, None, past, row)

    def _of(self, cell: str, epochs: int) -> TrialScheduler:
        if cell not in self._cells:
            self._cells[cell] = self._make(epochs, "min" if direction(self._rule) == "minimize" else "max")
        return self._cells[cell]

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """The metric is the study's rule, not Tune's."""
        return True

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Enter a trial of the search into its cell's population."""
        if trial.config["searches"]:
            self._of(trial.config["cell"], trial.config["jobs"][0]["epochs"]).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Go on or stop."""
        if not trial.config["searches"] or result["done"]:
            return str(TrialScheduler.CONTINUE)
        cell = trial.config["cell"]
        decision = str(TrialScheduler.CONTINUE)
        for row in result["rows"]:
            scores = tuple(ScoreRow(**score) for score in row["val"])
            decision = self._judge(
                cell,
                self._cells[cell],
                tune_controller,
                trial,
                CurveRow(row["epoch"], row["stage"], row["loss"], scores),
            )
        return decision

    def _judge(self, cell: str, scheduler: TrialScheduler, controller: Any, trial: Any, row: CurveRow) -> str:
        _, metric, region = self._rule.split("/")
        value = next((s.value for s in row.val if (s.metric, s.region) == (metric, region)), None)
        if value is None:
            return str(TrialScheduler.CONTINUE)
        self._seen[cell, row.epoch] += 1
        decision = str(scheduler.on_trial_result(controller, trial, {"epoch": row.epoch + 1, "value": value}))
        return decision if self._seen[cell, row.epoch] >= self.POPULATION else str(TrialScheduler.CONTINUE)


class _Past:
    """A trial of the ledger, as far as a scheduler looks at one."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id
