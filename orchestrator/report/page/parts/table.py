"""The scores of every recipe and control."""

from orchestrator.report.formats import cell, title
from orchestrator.report.page.grid import Cell, Column, Line, grid
from orchestrator.report.page.part import Part, render
from orchestrator.report.sections import Results, Section
from orchestrator.report.tables import Row, Table
from workloads.recipe import Recipe

CONTROL = "control"


def table(results: Results, section: Section) -> Part:
    """Mean and deviation by metric and region, the primary region first, and why results are missing."""
    found = section.table
    metric, first = found.primary
    metrics = [metric, *dict.fromkeys(m for m, _ in found.columns if m != metric)]
    columns = sorted(found.columns, key=lambda c: (metrics.index(c[0]), c[1] != first))
    heads = [Column("Recipe", words=True), *(Column(title(c), region=c[1]) for c in columns), Column("Seeds")]
    lines = [
        Line(
            [Cell(row.recipe), *(_scored(found, row, c) for c in columns), Cell(str(row.seeds), order=row.seeds)],
            " ".join(_tags(row)),
        )
        for row in found.rows
    ]
    methods = dict.fromkeys(tag for row in found.recipes for tag in Recipe.parse(row.recipe).parts[1:] if tag != "once")
    body = render(
        "parts/table.html.j2",
        grid=grid(f"Test scores on {found.workload}: mean ± sd over seeds", heads, lines),
        name=found.workload,
        methods=list(methods),
        regions=[(region, region.capitalize()) for region in dict.fromkeys(region for _, region in columns)],
        controls=len(found.rows) > len(found.recipes),
        missing=[(row.recipe, row.missing) for row in found.rows if row.missing],
    )
    return Part("table", "Scores", body, notes=tuple(section.notes))


def _scored(found: Table, row: Row, column: tuple[str, str]) -> Cell:
    mean, sd = cell(found, row, column)
    score, best = row.scores.get(column), found.is_best(row.recipe, column)
    return Cell(
        mean,
        f"± {sd}" if sd else "",
        None if score is None else score.mean,
        "best" if best else "",
        "best" if best else "",
    )


def _tags(row: Row) -> list[str]:
    """What a row is filtered by: the parts of its recipe, or that it is a control."""
    return [CONTROL] if row.uses else list(Recipe.parse(row.recipe).parts)
