"""What a sweep shows: a live table on a terminal and in a notebook, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from orchestrator.engine.notebook import NotebookTable
from orchestrator.errors import masked, one_line, printable
from orchestrator.ledger.records import Record
from orchestrator.study.cell_plan import REASON_CHARS, CellPlan, reason
from orchestrator.study.cells import Trial
from orchestrator.study.planner import Planner
from orchestrator.study.space import direction
from workloads.cache import telling
from workloads.labels import REGIONS

DECODED_EVERY_S: Final = 5.0
LINE_EVERY_S: Final = 60.0
"""Off a terminal, between two lines of a sweep to which nothing happens."""


@contextlib.contextmanager
def preparing(console: Console) -> Iterator[None]:
    """Show how far data are decoded into the cache while this lasts: a bar on a terminal, plain lines without one.

    Nothing is shown where the cache is there already.
    """
    what = "decoding into the cache, once for this node"
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Progress(*columns, console=console, transient=True)
    last_line = time.monotonic()

    def show(done: int, of: int) -> None:
        nonlocal last_line
        if console.is_terminal and not console.quiet:
            bars.start()
            if bars.finished:  # none yet, or the last data set's
                bars.add_task(what, total=of)
            bars.update(bars.task_ids[-1], completed=done)
        elif time.monotonic() - last_line >= DECODED_EVERY_S:
            last_line = time.monotonic()
            console.print(f"{what}: {done}/{of}", highlight=False, markup=False, soft_wrap=True)

    try:
        with telling(show):
            yield
    finally:
        if bars.task_ids:  # stopping what never started prints an empty line
            bars.stop()


class Display:
    """Trials done, running and failed per cell, best validation per region, elapsed and remaining time."""

    def __init__(self, planner: Planner, console: Console) -> None:
        self._planner, self._console = planner, console
        self._start = self._last_line = time.monotonic()
        self._resumed = self._count("done")
        self._plans = {plan.cell.name: plan for plan in planner.plans}
        self._steps: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._table, transient=True)
        self._in_lines = console.quiet or not (console.is_terminal or console.is_jupyter)  # a live table takes stdout
        self._notebook = NotebookTable(self._table) if console.is_jupyter and not self._in_lines else None

    def __enter__(self) -> "Display":
        if self._resumed:
            self._say(f"{self._resumed} of {self._planner.total} trials are in the ledger already")
        if self._notebook:
            self._notebook.start()
        elif not self._in_lines:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._notebook:
            self._notebook.stop()  # the summary stands below its table
            return
        if not self._in_lines:
            self._live.stop()
        self._say(self._summary())

    def began(self, trial: Trial) -> None:
        """Nothing to say: the table shows it."""

    def finished(self, trial: Trial, record: Record) -> None:
        """Failures are said at once; where no table shows it, the end of a cell's search and of its evaluation, too."""
        if record.status == "failed":
            self._say(f"failed: {trial.cell.name} {trial.phase} {trial.number}: {reason(record)}")
        if self._in_lines:
            self._say_step(self._plans[trial.cell.name])

    def _say_step(self, plan: CellPlan) -> None:
        """Say once that the search of a cell has ended, or its evaluation."""
        counted = plan.chosen is not None or bool(plan.unselected)
        evaluated = plan.chosen is not None and len(plan.records("evaluate")) == len(plan.trials["evaluate"])
        step = "evaluated" if evaluated else "tuned" if counted else ""
        if step and self._steps.get(plan.cell.name) != step:
            self._steps[plan.cell.name] = step
            rule = self._planner.study.tune.select_by
            best = f", {rule} {plan.chosen.score:.4g}" if plan.chosen else f", {plan.unselected}"
            self._say(f"{plan.cell.name} is {step}{best}")

    def lost(self, trial: Trial, why: str) -> None:
        """Said at once, too: it costs time, and may cost more."""
        self._say(
            f"worker lost, trying again: {trial.cell.name} {trial.phase} {trial.number}: {one_line(why, REASON_CHARS)}"
        )

    def told(self, trial: Trial, words: str) -> None:
        """Said at once."""
        self._say(f"{trial.cell.name} {trial.phase} {trial.number}: {words}")

    def tick(self) -> None:
        """A plain line now and then where no table is shown."""
        if self._notebook:
            self._notebook.update()
        if self._in_lines and time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._last_line = time.monotonic()
            self._say(self._summary())

    def _say(self, line: str) -> None:
        self._console.print(printable(masked(line)), highlight=False, markup=False, soft_wrap=True)

    def _count(self, what: str) -> int:
        return sum(_counts(plan)[what] for plan in self._planner.mine)

    def _summary(self) -> str:
        done, total, running = self._count("done"), self._planner.total, self._planner.under_way
        elapsed = time.monotonic() - self._start
        begun = running.trials * running.epochs / running.of if running.of else 0.0
        new = done - self._resumed + begun
        left = f", about {_clock(elapsed / new * (total - done - begun))} left" if new and done < total else ""
        failed = self._count("failed")
        return f"{done}/{total} trials done, {running}, {failed} failed, {_clock(elapsed)} elapsed{left}"

    def _table(self) -> Table:
        rule = self._planner.study.tune.select_by
        metric = rule.split("/")[1]
        table = Table(caption=self._summary(), caption_justify="left", box=None, pad_edge=False)
        table.add_column("cell", no_wrap=True, overflow="ellipsis")
        shown = [r for r in ("all", *REGIONS) if any(_best(p, metric, r) is not None for p in self._planner.mine)]
        for title in ("done", "running", "failed", *(f"val {metric} {region}" for region in shown)):
            table.add_column(title, justify="right")
        for plan in self._visible():
            counts = _counts(plan)
            best = (_best(plan, metric, region) for region in shown)
            table.add_row(
                plan.cell.name,
                f"{counts['done']}/{self._planner.planned(plan)}",
                str(counts["running"] or ""),
                str(counts["failed"] or ""),
                *("" if value is None else f"{value:.2f}" for value in best),
            )
        return table

    def _visible(self) -> Sequence[CellPlan]:
        """All cells when they fit, else those at work and then the rest, as many as fit."""
        room = max(3, self._console.height - 5)
        plans = self._planner.mine
        return plans if len(plans) <= room else sorted(plans, key=lambda plan: not plan.running)[:room]


def _counts(plan: CellPlan) -> dict[str, int]:
    records = [*plan.records("tune"), *plan.records("evaluate")]
    return {
        "done": len(records),
        "running": len(plan.running),
        "failed": sum(record.status == "failed" for record in records),
    }


def _best(plan: CellPlan, metric: str, region: str) -> float | None:
    name = f"val/{metric}/{region}"
    values = [value for record in plan.searched if (value := record.score(name)) is not None]
    pick = min if direction(name) == "minimize" else max
    return pick(values) if values else None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
