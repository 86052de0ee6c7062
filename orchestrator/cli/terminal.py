"""A study's tables on a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from orchestrator.api import Outcome
from orchestrator.report.escape import line
from orchestrator.report.formats import cell, change
from orchestrator.report.tables import TITLES, Table


def show(outcome: Outcome, console: Console) -> None:
    """Print every table with its verdict and what stands under it, and where the files are."""
    if not console.is_terminal:
        console = Console(width=200)  # a table in a log is not cut to a guessed width

    def say(text: str) -> None:
        console.print(f"  {line(text)}", highlight=False, markup=False, soft_wrap=True)

    for section in outcome.sections:
        table = section.table
        for metric in dict.fromkeys(metric for metric, _ in table.columns):
            console.print(_grid(table, metric))
        for text in (*section.verdict, *section.notes, *filter(None, [section.costs])):
            say(text)
        for row in table.rows:
            if row.missing:
                say(f"{row.recipe}: {row.missing}")
    table_md = outcome.ledger.store.locate(f"{outcome.study.study}/table.md")
    written = f"\nWritten: {table_md} .csv .tex, tidy.csv, report.html"
    console.print(written, highlight=False, markup=False, soft_wrap=True)


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
