"""Tables of studies on a terminal."""

from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from orchestrator.api import Outcome
from orchestrator.engine.status import Status
from orchestrator.report.across import Across, across_explained
from orchestrator.report.escape import line
from orchestrator.report.formats import cell, change, title
from orchestrator.report.sections import Results
from orchestrator.report.tables import TITLES, Table

WIDE: Final = 10_000
"""Columns of a console that is no terminal: more than a table needs."""


def wide(console: Console) -> Console:
    """A console that gives tables the width that they need, where nothing is cut off at the edge of a screen."""
    return console if console.is_terminal else Console(file=console.file, width=WIDE)


def standing(made: Status, lines: int) -> Grid:
    """How a study stands as a table of at most so many lines: cells at work, then those that are not done."""
    grid = Grid(caption=made.summary, caption_justify="left", box=None, pad_edge=False)
    grid.add_column("cell", no_wrap=True, overflow="ellipsis")
    for name in ("done", "running", "failed", "missing", f"best {made.select_by}"):
        grid.add_column(escape(name), justify="right")
    grid.add_column("why", overflow="ellipsis", no_wrap=True)
    room = max(3, lines - 5)
    order = sorted(made.cells, key=lambda cell: (not cell.running, not cell.missing))
    for one in made.cells if len(made.cells) <= room else order[:room]:
        counts = (str(count or "") for count in (one.running, one.failed, one.missing))
        best = "" if one.best is None else f"{one.best:.4g}"
        grid.add_row(escape(one.cell), f"{one.done}/{one.planned}", *counts, best, escape(line(one.reason)))
    return grid


def show(results: Results, console: Console, written: str = "") -> None:
    """Print every table with its verdict and what stands under it, and where the files are."""
    console = wide(console)

    def say(text: str) -> None:
        console.print(f"  {line(text)}", highlight=False, markup=False, soft_wrap=True)

    for section in results.sections:
        table = section.table
        for metric in dict.fromkeys(metric for metric, _ in table.columns):
            console.print(_grid(table, metric))
        partial, costs = ([text] if text else [] for text in (section.partial, section.costs))
        for text in (*partial, *section.verdict, *section.notes, *costs):
            say(text)
        for row in table.rows:
            if row.missing:
                say(f"{row.recipe}: {row.missing}")
    if len(results.sections) > 1:
        _show_across(results.across, console, say)
    if written:
        console.print(f"\nWritten: {written}", highlight=False, markup=False, soft_wrap=True)


def written(outcome: Outcome) -> str:
    """Where the files of a study are."""
    table_md = outcome.ledger.store.locate(f"{outcome.study.study}/table.md")
    return f"{table_md} .csv .tex, tidy.csv .json .parquet, best.yaml, report.html, figures/"


def _show_across(found: Across | str, console: Console, say: Callable[[str], None]) -> None:
    """Mean ranks and probabilities of improvement, or why there are none."""
    if isinstance(found, str):
        say(found)
        return
    grid = Grid(title="across workloads", title_justify="left", title_style="bold")
    for name in ("recipe", "mean rank", f"better than {found.base}" if found.base else ""):
        grid.add_column(escape(name), justify="left" if name == "recipe" else "right", no_wrap=True)
    for recipe, rank in found.ranks.items():
        better = found.improvement.get(recipe)
        shown = "" if better is None else escape(f"{better.value:.2f} [{better.low:.2f}, {better.high:.2f}]")
        grid.add_row(escape(line(recipe)), f"{rank:.2f}", shown)
    console.print(grid)
    for text in across_explained(found):
        say(text)


def show_comparison(results: Results, ours: str, theirs: str, console: Console) -> None:
    """Two rows of every table beside each other: scores, difference with its interval, p and verdict per column."""
    console = wide(console)
    for section in results.sections:
        table = section.table
        rows = {row.recipe: row for row in table.rows}
        grid = Grid(
            title=Text(line(f"{table.workload}: {ours} against {theirs}")), title_justify="left", title_style="bold"
        )
        for name in ("column", ours, theirs, "change [95 %]", "p", "p, Holm", "verdict"):
            grid.add_column(
                escape(line(name)), justify="left" if name in {"column", "verdict"} else "right", no_wrap=True
            )
        for column in table.columns:
            made = table.comparisons.get((ours, column))
            scores = [cell(table, rows[name], column) if name in rows else ("–", "") for name in (ours, theirs)]
            beside = [f"{mean} ±{sd}" if sd else mean for mean, sd in scores]
            tested = made is not None and made.estimate is not None
            ps = [f"{made.p:.3g}", f"{made.p_table:.3g}"] if made is not None and tested else ["", ""]
            changed = "" if made is None else escape(change(table, made))
            grid.add_row(title(column), *beside, changed, *ps, made.verdict if made is not None and tested else "")
        console.print(grid)
        for text in (*([section.partial] if section.partial else []), *section.explained):
            console.print(f"  {line(text)}", highlight=False, markup=False, soft_wrap=True)


def _grid(table: Table, metric: str) -> Grid:
    """One metric in every region; beside the primary one, the change in the primary column."""
    columns = [column for column in table.columns if column[0] == metric]
    title = Text(line(f"{table.workload}: {TITLES.get(metric, metric)}"))
    grid = Grid(title=title, title_justify="left", title_style="bold")
    grid.add_column("recipe", no_wrap=True)
    grid.add_column("n", justify="right", no_wrap=True)
    for _, region in columns:
        grid.add_column(region.capitalize(), justify="right", no_wrap=True)
    if metric == table.primary[0]:
        grid.add_column(f"change in {table.primary[1].capitalize()}", justify="right", no_wrap=True)
    for row in table.rows:
        cells = [escape(line(row.recipe)), str(row.seeds)]
        for column in columns:
            mean, sd = cell(table, row, column)
            text = f"{mean} ±{sd}" if sd else mean
            cells.append(f"[bold]{text}[/bold]" if table.is_best(row.recipe, column) else text)
        if metric == table.primary[0]:
            made = table.comparisons.get((row.recipe, table.primary))
            cells.append("" if made is None else escape(change(table, made)))
        grid.add_row(*cells)
    return grid
