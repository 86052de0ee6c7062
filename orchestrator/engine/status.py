"""How a study stands, for people and programs: what is done, running, failed and missing, and why."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.engine.heartbeat import EVERY_S, Beat
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.planner import Planner

SILENT_S: Final = 6 * EVERY_S
"""A driver that has said nothing for so long is not at work."""
SPENT: Final = "the budget is spent: the same command with a larger one goes on"


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True)


class CellStatus(_Form):
    """A cell: planned = done + running + failed + missing. `best` is the score by which its setting was selected."""

    cell: str
    workload: str
    recipe: str
    planned: int
    done: int
    running: int
    failed: int
    missing: int
    best: float | None
    reason: str
    """Why trials failed or are missing; empty where there are none."""

    def __str__(self) -> str:
        counts = {"running": self.running, "failed": self.failed, "missing": self.missing}
        told = (f"{count} {what}" for what, count in counts.items() if count and what != "failed")
        best = () if self.best is None else (f"best {self.best:.4g}",)
        return f"{self.cell}: {', '.join((f'{self.done}/{self.planned}', *told, *best, *filter(None, [self.reason])))}"


class DriverStatus(_Form):
    """What a driver last said of its trials, and how many seconds ago."""

    shard: int
    shards: int
    host: str
    done: int
    failed: int
    running: int
    planned: int
    ended: bool
    said_s_ago: float

    @property
    def at_work(self) -> bool:
        """Whether it goes on, as far as can be told."""
        return not self.ended and self.said_s_ago <= SILENT_S


class Status(_Form):
    """A study: trials by what became of them, its cells, and its drivers.

    `form` is the version of this form; a key is added without a new one. `background` is what became of a sweep that
    was detached on this machine: running, ended, failed or stopped; empty without one.
    """

    form: Literal[1] = 1
    study: str
    storage: str
    select_by: str
    planned: int
    done: int
    running: int
    failed: int
    missing: int
    complete: bool
    """Whether all that is planned has ended well."""
    over: bool
    """Whether nothing runs, and the same command would train nothing more: it is done, or its budget is spent."""
    unselected: int
    """Cells whose search has ended without a setting that could be evaluated."""
    background: str = ""
    cells: tuple[CellStatus, ...]
    drivers: tuple[DriverStatus, ...]

    @property
    def summary(self) -> str:
        """One line."""
        return (
            f"{self.done + self.failed}/{self.planned} trials in the ledger, {self.failed} failed, {self.running} "
            f"running, {self.missing} missing; storage {self.storage}"
        )


def status_of(planner: Planner, storage: str, beats: Sequence[Beat]) -> Status:
    """How a study stands by its ledger, and by what its drivers said last."""
    drivers = tuple(_driver(beat) for beat in beats)
    at_work = [driver for driver in drivers if driver.at_work]
    running = Counter[str]()
    for beat, driver in zip(beats, drivers, strict=True):
        if driver.at_work:
            running.update(beat.cells)
    why = "waits its turn" if at_work else SPENT if planner.spent else _idle(drivers, planner.study.study)
    cells = tuple(_cell(plan, planner.planned(plan), running[plan.cell.name], why) for plan in planner.plans)
    sums = {name: sum(getattr(cell, name) for cell in cells) for name in ("planned", "done", "running", "failed")}
    missing = sum(cell.missing for cell in cells)
    return Status(
        study=planner.study.study,
        storage=storage,
        select_by=planner.study.tune.select_by,
        **sums,
        missing=missing,
        unselected=sum(_without_choice(plan) for plan in planner.plans),
        complete=sums["done"] == sums["planned"],
        over=planner.done and not sums["running"],
        cells=cells,
        drivers=drivers,
    )


def _driver(beat: Beat) -> DriverStatus:
    counts = {name: getattr(beat, name) for name in ("shard", "shards", "host", "done", "failed", "running", "ended")}
    return DriverStatus(**counts, planned=beat.total, said_s_ago=beat.silent_s)


def _idle(drivers: Sequence[DriverStatus], study: str) -> str:
    """Why nobody trains what is missing."""
    lost = [driver for driver in drivers if not driver.ended]
    if lost:
        since = round(min(driver.said_s_ago for driver in lost))
        return f"its driver on {lost[0].host} has said nothing for {since:,} s; the same command continues"
    return f"no driver is at work: tailsweep sweep {study} trains it"


def _without_choice(plan: CellPlan) -> bool:
    """Whether the search of a cell has ended, and no trial of it can be evaluated."""
    return plan.rescoring is not None and plan.chosen is None and not (plan.waiting or plan.running)


def _cell(plan: CellPlan, planned: int, running: int, why: str) -> CellStatus:
    records = [*plan.records("tune"), *plan.records("evaluate")]
    failed = sum(record.status == "failed" for record in records)
    running = max(0, min(running, planned - len(records)))  # a trial may have ended since its driver spoke
    missing = planned - len(records) - running
    told = plan.missing()
    return CellStatus(
        cell=plan.cell.name,
        workload=plan.cell.workload,
        recipe=str(plan.cell.recipe),
        planned=planned,
        done=len(records) - failed,
        running=running,
        failed=failed,
        missing=missing,
        best=plan.chosen.score if plan.chosen else None,
        reason="; ".join(filter(None, (told, why if missing and not _without_choice(plan) else ""))),
    )
