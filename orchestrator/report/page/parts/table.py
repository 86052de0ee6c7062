"""The scores of every recipe and control."""

from orchestrator.report.formats import cell, title
from orchestrator.report.page.part import Part, render
from orchestrator.report.sections import Results, Section


def table(results: Results, section: Section) -> Part:
    """Mean and deviation by metric and region, and why results are missing."""
    body = render("parts/table.html.j2", table=section.table, cell=cell, title=title)
    return Part("table", "Scores", body, notes=tuple(section.notes))
