"""The hyperparameters that were searched."""

from orchestrator.report.page.part import Part, render
from orchestrator.report.sections import Results, Section
from orchestrator.report.settings import ranges as ranges_of


def ranges(results: Results, section: Section) -> Part:
    """Every range once, with its first value."""
    found = {row[0]: row for plan in reversed(section.plans) for row in ranges_of(plan.cell)}
    named = dict.fromkeys(row[0] for plan in section.plans for row in ranges_of(plan.cell))
    body = render("parts/ranges.html.j2", rows=[found[name] for name in named])
    return Part("ranges", "Searched hyperparameters", body)
