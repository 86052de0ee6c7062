"""What each component of the study contributes."""

from orchestrator.report.contributions import value_of
from orchestrator.report.page.part import Part, render
from orchestrator.report.sections import Results, Section


def contributions(results: Results, section: Section) -> Part | None:
    """Main effects and interactions; nothing where there is nothing to say."""
    made = section.contributions
    if not (made.effects or made.lines):
        return None
    simple = (
        f"{region.capitalize()}: {word} {value_of(estimate, made.decimals)}." for region, word, estimate in made.simple
    )
    body = render("parts/contributions.html.j2", made=made)
    return Part("contributions", "What each component contributes", body, (), (*made.explained, *made.lines, *simple))
