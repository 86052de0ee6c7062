"""The searches of a study as Optuna studies in a SQLite file, which optuna-dashboard shows: one for every cell.

States, values and distributions are those that the samplers were told. Seeds that rescore and trials that evaluate are
no part of a search, and left out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

import optuna
from optuna.trial import FrozenTrial

from orchestrator.ledger.ledger import Ledger
from orchestrator.storage.store import local_folder
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.lineage import curve_of, observed
from orchestrator.study.space import direction, frozen
from orchestrator.study.spec import Study

FILE: Final = "optuna.db"
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
        rules = self._study.tune.rules
        made = optuna.create_study(
            storage=self._storage,
            study_name=f"{self._study.study}/{plan.cell.name}",
            directions=[direction(rule) for rule in rules],
            load_if_exists=True,
        )
        made.set_user_attr("score", ", ".join(rules))
        there = {trial.user_attrs.get(TRIAL) for trial in made.get_trials(deepcopy=False)}
        new = [trial for trial in trials(plan, rules) if trial.user_attrs[TRIAL] not in there]
        made.add_trials(new)
        return len(new)

    def upload(self) -> None:
        """Tables lie beside the file."""
        self._storage.remove_session()


def trials(plan: CellPlan, rules: Sequence[str]) -> Iterator[FrozenTrial]:
    """The trials of a search as its sampler was told them; of one score, with the learning curves of all."""
    for record in plan.searched:
        seen = observed(plan.suggested[record.number], record, rules)
        if len(rules) == 1:  # Optuna has no curve of several
            seen = replace(seen, curve=curve_of(record, rules[0]))
        made = frozen(plan.cell, seen, len(rules))
        made.user_attrs = {
            TRIAL: f"{record.trial_id}.{record.attempt}",
            "seed": record.seed,
            "host": record.host,
            "device": record.device,
            **({"error": record.error[:500]} if record.error else {}),
        }
        made.datetime_start, made.datetime_complete = (
            when.astimezone().replace(tzinfo=None) for when in (record.started, record.finished)
        )
        yield made


TRACKER: Final = OptunaStorage
