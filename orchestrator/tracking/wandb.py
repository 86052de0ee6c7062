"""The trials of a study as offline runs of Weights & Biases: `wandb sync FOLDER/wandb/*` sends them, when you say so.

Nothing is sent from here, whatever the environment says.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Final

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.names import PHASES
from orchestrator.ledger.records import Phase, Record
from orchestrator.storage.store import local_folder
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.spec import Study
from orchestrator.tracking._scores import curve, final
from workloads.extras import need
from workloads.recipe import Recipe
from workloads.training import active

# Before the import: it asks for nothing, says nothing, and reports no use of itself.
os.environ["WANDB_MODE"] = "offline"
os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

try:
    import wandb
except ModuleNotFoundError:
    need("wandb")
    raise

DONE: Final = ".tailsweep-done"


class WandbRuns:
    """One study in one folder of offline runs; a run that was cut off is left, and made again under its id."""

    title: ClassVar[str] = "the folder of Weights & Biases"

    def __init__(self, study: Study, ledger: Ledger) -> None:
        self._study, self._root = study, Path(self.address(study))
        self._done = self._root / DONE
        self._done.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def address(study: Study) -> str:
        """`tracking.uri`, or the folder of the tables; runs lie in its `wandb/`."""
        return study.tracking.uri or str(local_folder(study.storage) / study.study)

    def update(self, plans: Iterable[CellPlan]) -> int:
        """Write the trials that the folder does not have yet; returns their number."""
        sent = 0
        for plan in plans:
            for phase in PHASES:
                for record in plan.records(phase):
                    mark = self._done / f"{record.trial_id}.{record.attempt}"
                    if not mark.exists():
                        self._write(plan, phase, record)
                        mark.touch()
                        sent += 1
        return sent

    def _write(self, plan: CellPlan, phase: Phase, record: Record) -> None:
        run = wandb.init(
            mode="offline",
            dir=str(self._root),
            project=self._study.study,
            id=f"{record.trial_id}-{record.attempt}",
            name=f"{record.recipe} {phase} {record.number}",
            group=plan.cell.name,
            job_type=phase,
            config={**active(Recipe.parse(record.recipe), record.settings), "seed": record.seed},
            settings=wandb.Settings(
                silent=True, x_disable_stats=True, x_disable_meta=True, disable_git=True, console="off"
            ),
        )
        for epoch, values in curve(record):
            run.log(values, step=epoch)
        run.summary.update(dict(final(record)))
        run.finish(exit_code=int(record.status == "failed"))

    def upload(self) -> None:
        """Tables lie beside the runs."""


TRACKER: Final = WandbRuns
