"""How far every recipe is from its base."""

import math

from markupsafe import Markup

from orchestrator.report.figures.forest import forest
from orchestrator.report.formats import NOTHING, change
from orchestrator.report.notes import change_heading
from orchestrator.report.page.grid import Cell, Column, Line, grid
from orchestrator.report.page.part import Part
from orchestrator.report.sections import Results, Section
from orchestrator.report.tables import Table
from workloads.metrics import LOGARITHMIC


def changes(results: Results, section: Section) -> Part | None:
    """The changes with their intervals, a table per metric; nothing where nothing was compared."""
    if not section.changes:
        return None
    against = section.against.replace("`", "")
    body = Markup("\n").join(_of_metric(section.table, metric) for metric in section.changes)
    return Part("changes", f"Changes against {against}", body, (forest(section.table),), tuple(section.explained))


def _of_metric(table: Table, metric: str) -> Markup:
    columns = [column for column in table.columns if column[0] == metric]
    heads = [Column("Recipe", words=True), *(Column(region.capitalize()) for _, region in columns)]
    lines = [Line([recipe, *(_changed(table, recipe, column) for column in columns)]) for recipe in table.compared]
    kind = "ratio" if metric in LOGARITHMIC else "difference"
    return grid(f"{change_heading(metric)}: {kind} [95 % interval]", heads, lines)


def _changed(table: Table, recipe: str, column: tuple[str, str]) -> Cell:
    made = table.comparisons.get((recipe, column))
    if made is None:
        return Cell(NOTHING)
    said = "" if made.verdict == "undecided" else made.verdict
    return Cell(change(table, made), order=math.exp(made.value) if made.ratio else made.value, kind=said, said=said)
