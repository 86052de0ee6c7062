"""How far every recipe is from its base."""

from orchestrator.report.figures.forest import forest
from orchestrator.report.formats import NOTHING, change
from orchestrator.report.notes import change_heading
from orchestrator.report.page.part import Part, render
from orchestrator.report.sections import Results, Section


def changes(results: Results, section: Section) -> Part | None:
    """The changes with their intervals; nothing where nothing was compared."""
    if not section.changes:
        return None
    body = render("parts/changes.html.j2", section=section, heading=change_heading, change=change, nothing=NOTHING)
    heading = f"Changes against {section.against.replace('`', '')}"
    return Part("changes", heading, body, (forest(section.table),), tuple(section.explained))
