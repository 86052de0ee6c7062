"""What the numbers entail, in sentences."""

from orchestrator.report.page.part import Part, render
from orchestrator.report.sections import Results, Section


def verdict(results: Results, section: Section) -> Part | None:
    """The verdict; nothing without results in the primary column."""
    if not section.verdict:
        return None
    return Part("verdict", "Verdict", render("parts/verdict.html.j2", sentences=section.verdict))
