"""The searches of a study as Optuna studies in a SQLite file, which optuna-dashboard shows: one for every cell.

States, values, distributions and learning curves are those that the samplers were told. Seeds that rescore and trials
that evaluate are no part of a search, and left out.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Record
from orchestrator.storage.store import local_folder
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.space import direction, distribution
from orchestrator.study.spec import Study
from workloads.hparams import Value

FILE: Final = "optuna.db"
STATES: Final = {"completed": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}
TRIAL: Final = "tailsweep.trial"


class OptunaStorage:
    """One study in one SQLite file."""

    title: ClassVar[str] = "Optuna's storage"

    def __init__(self, study: Study, ledger: Ledger) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = study
        address = self.address(study)
        Path(address.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self._storage = optuna.storages.RDBStorage(address)

    @staticmethod
    def address(study: Study) -> str:
        """`tracking.uri`, or `optuna.db` beside the tables."""
        return study.tracking.uri or f"sqlite:///{local_folder(study.storage) / study.study / FILE}"

    def update(self, plans: Iterable[CellPlan]) -> int:
        """Add the trials of the searches that the file does not have yet; returns their number."""
        return sum(self._add(plan) for plan in plans)

    def _add(self, plan: CellPlan) -> int:
        rule = self._study.tune.select_by
        made = optuna.create_study(
            storage=self._storage,
            study_name=f"{self._study.study}/{plan.cell.name}",
            direction=direction(rule),
            load_if_exists=True,
        )
        made.set_user_attr("score", rule)
        there = {trial.user_attrs.get(TRIAL) for trial in made.get_trials(deepcopy=False)}
        new = [trial for trial in trials(plan, rule) if trial.user_attrs[TRIAL] not in there]
        made.add_trials(new)
        return len(new)

    def upload(self) -> None:
        """Tables lie beside the file."""
        self._storage.remove_session()


def trials(plan: CellPlan, rule: str) -> Iterator[FrozenTrial]:
    """The trials of a search as Optuna keeps them; a value outside the searched range is the end that is nearest."""
    axes = {axis.name: axis for axis in plan.cell.axes}
    for record in plan.searched:
        suggested = plan.suggested[record.number]
        params: dict[str, Value] = {n: axes[n].inside(value) for n, value in suggested.items() if n in axes}
        shapes: dict[str, BaseDistribution] = {name: distribution(axes[name]) for name in params}
        value = record.score(rule)
        state = STATES[record.status]
        if state is TrialState.COMPLETE and value is None:
            state = TrialState.FAIL
        made = optuna.trial.create_trial(
            state=state,
            value=value if state is TrialState.COMPLETE else None,
            params=params,
            distributions=shapes,
            intermediate_values=dict(_curve(record, rule)),
            user_attrs={
                TRIAL: f"{record.trial_id}.{record.attempt}",
                "seed": record.seed,
                "host": record.host,
                "device": record.device,
                **({"error": record.error[:500]} if record.error else {}),
            },
        )
        made.datetime_start, made.datetime_complete = (
            when.astimezone().replace(tzinfo=None) for when in (record.started, record.finished)
        )
        yield made


def _curve(record: Record, rule: str) -> Iterator[tuple[int, float]]:
    for row in record.curve:
        if (value := row.score(rule)) is not None:
            yield row.epoch, value


TRACKER: Final = OptunaStorage
