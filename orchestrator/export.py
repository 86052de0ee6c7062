"""A study for other tools: settings that run again, tidy data, and the trackers that write folders and files."""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final

from orchestrator.errors import BadInput
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.one_row import one_row_yaml
from orchestrator.report.outputs import FORMATS
from orchestrator.report.sections import Results, sections
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from orchestrator.tracking import tracker


@dataclass(frozen=True)
class Exported:
    """A study, its plan and its ledger."""

    study: Study
    planner: Planner
    ledger: Ledger

    @cached_property
    def results(self) -> Results:
        """What the report says; made once, when a format asks."""
        return Results(self.study, self.ledger, sections(self.study, self.planner, self.ledger))


def _best(what: Exported, folder: Path) -> Iterator[str]:
    """A study of one row for every cell with a selected setting: the first replicate's."""
    for plan in what.planner.plans:
        if plan.settings is not None and not plan.cell.replicate:
            name = f"{what.study.study[:60]}-{_slug(plan)}"[:80].rstrip(".-")
            yield _put(folder / "best" / f"{_slug(plan)}.yaml", one_row_yaml(what.study, plan, name))


def _slug(plan: CellPlan) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", plan.cell.name.lower()).strip("-")


def _report(name: str, file: str, what: Exported, folder: Path) -> Iterator[str]:
    """What `tailsweep report --format` prints, as a file."""
    yield _put(folder / file, FORMATS[name](what.results))


def _tracked(name: str, address: Callable[[Path], str], what: Exported, folder: Path) -> Iterator[str]:
    """What a tracker writes of the ledger; what is there already stays."""
    tracking = what.study.tracking.model_copy(update={"tracker": name, "uri": address(folder)})
    study = what.study.model_copy(update={"tracking": tracking})
    made = tracker(study)(study, what.ledger)
    sent = made.update(what.planner.plans)
    made.upload()
    yield f"{address(folder)}: {sent} trials"


def _put(path: Path, content: str | bytes) -> str:
    """Write a file whole; returns its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
    Path(stream.name).chmod(0o644)
    Path(stream.name).replace(path)
    return str(path)


EXPORTS: Final[Mapping[str, Callable[[Exported, Path], Iterator[str]]]] = {
    "best": _best,
    "csv": partial(_report, "csv", "tidy.csv"),
    "json": partial(_report, "json", "tidy.json"),
    "parquet": partial(_report, "parquet", "tidy.parquet"),
    "optuna": partial(_tracked, "optuna", lambda folder: f"sqlite:///{folder.resolve()}/optuna.db"),
    "tensorboard": partial(_tracked, "tensorboard", lambda folder: str(folder / "tensorboard")),
    "wandb": partial(_tracked, "wandb", str),
}
"""What a study is exported as, by the name of the format: the makers yield what they wrote."""


def export(what: Exported, formats: list[str], folder: Path) -> Iterator[str]:
    """Write formats into a folder, which may hold an earlier export; yields what was written, one line each.

    Raises BadInput where nothing was trained yet, and for a folder that cannot be written.
    """
    if not any(plan.records(phase) for plan in what.planner.plans for phase in what.planner.plans[0].trials):
        raise BadInput(
            f"there must be something to export: {what.ledger.store.uri} holds no trial of study {what.study.study}; "
            "is it the storage of its sweep (--storage)?"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise BadInput(f"--to must name a folder: {folder}: {err.strerror}") from err
    for name in dict.fromkeys(formats):
        yield from EXPORTS[name](what, folder)
