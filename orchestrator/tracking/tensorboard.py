"""The trials of a study as runs of TensorBoard: curves, final scores, and hyperparameters for its HPARAMS page."""

import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Final

from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.names import PHASES
from orchestrator.ledger.records import Record
from orchestrator.storage.store import local_folder
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.spec import Study
from orchestrator.tracking._scores import curve, final
from workloads.recipe import Recipe
from workloads.training import active

FOLDER: Final = "tensorboard"


class TensorBoard:
    """One study in one folder: `<cell>/<phase> <number> <trial>.<attempt>` for each trial, written whole."""

    title: ClassVar[str] = "TensorBoard's folder"

    def __init__(self, study: Study, ledger: Ledger) -> None:
        self._root = Path(self.address(study))
        self._root.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def address(study: Study) -> str:
        """`tracking.uri`, or `tensorboard/` beside the tables."""
        return study.tracking.uri or str(local_folder(study.storage) / study.study / FOLDER)

    def update(self, plans: Iterable[CellPlan]) -> int:
        """Write the trials that the folder does not have yet; returns their number."""
        sent = 0
        for plan in plans:
            for phase in PHASES:
                for record in plan.records(phase):
                    name = f"{phase} {record.number} {record.trial_id}.{record.attempt}"
                    place = self._root / plan.cell.name.replace("/", " ") / name
                    if not place.exists():
                        self._write(record, place)
                        sent += 1
        return sent

    def _write(self, record: Record, place: Path) -> None:
        """One run under a name that TensorBoard does not look at, until it is whole."""
        place.parent.mkdir(parents=True, exist_ok=True)
        made = self._root.parent / f".{self._root.name}-{uuid.uuid4().hex}"
        when = record.finished.timestamp()
        scores = dict(final(record))
        settings = active(Recipe.parse(record.recipe), record.settings)
        with SummaryWriter(str(made), write_to_disk=True) as writer:
            for summary in hparams({**settings, "recipe": record.recipe, "seed": str(record.seed)}, scores):
                writer.file_writer.add_summary(summary, walltime=when)
            for epoch, values in ((record.kept_epoch or 0, scores), *curve(record)):
                for tag, value in values.items():
                    writer.add_scalar(tag, value, epoch, walltime=when)
        try:
            made.rename(place)
        except FileExistsError:  # another tracker was first
            shutil.rmtree(made)

    def upload(self) -> None:
        """Tables lie beside the folder."""


TRACKER: Final = TensorBoard
