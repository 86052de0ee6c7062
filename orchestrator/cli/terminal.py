"""A study's tables on a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid
from rich.text import Text

from orchestrator.api import Outcome
from orchestrator.report.escape import line
from orchestrator.report.outputs import notes
from orchestrator.report.tables import TITLES, cell, tables


def show(outcome: Outcome, console: Console) -> None:
    """Print every table with what stands under it, and where the files are."""
    if not console.is_terminal:
        console = Console(width=200)  # a table in a log is not cut to a guessed width
    for table in tables(outcome.planner.plans):
        grid = Grid(title=Text(line(table.workload)), title_justify="left", title_style="bold")
        grid.add_column("recipe", no_wrap=True)
        grid.add_column("n", justify="right")
        for metric, region in table.columns:
            grid.add_column(f"{TITLES.get(metric, metric)}\n{region.capitalize()}", justify="right", no_wrap=True)
        for row in table.rows:
            cells = [escape(line(row.recipe)), str(row.seeds)]
            for column in table.columns:
                mean, sd = cell(table, row, column)
                text = f"{mean} ±{sd}" if sd else mean
                best = column in row.scores and row.scores[column].mean == table.best(column)
                cells.append(f"[bold]{text}*[/bold]" if best else text)
            grid.add_row(*cells)
        console.print(grid)
        plans = [plan for plan in outcome.planner.plans if plan.cell.workload == table.workload]
        for note in notes(outcome.study, outcome.planner, table, plans):
            console.print(f"  {line(note)}", highlight=False, markup=False, soft_wrap=True)
        for row in table.rows:
            if row.missing:
                console.print(
                    f"  {line(row.recipe)}: {line(row.missing)}", highlight=False, markup=False, soft_wrap=True
                )
    table_md = outcome.ledger.store.locate(f"{outcome.study.study}/table.md")
    console.print(f"\nWritten: {table_md} .csv .tex, report.html", highlight=False, markup=False, soft_wrap=True)
