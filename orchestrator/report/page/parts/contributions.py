"""What each component of the study contributes."""

from orchestrator.report.contributions import Contributions, value_of
from orchestrator.report.page.grid import Cell, Column, Line, grid
from orchestrator.report.page.part import Part
from orchestrator.report.sections import Results, Section


def contributions(results: Results, section: Section) -> Part | None:
    """Main effects and interactions; nothing where there is nothing to say."""
    made = section.contributions
    if not (made.effects or made.lines):
        return None
    simple = (
        f"{region.capitalize()}: {word} {value_of(estimate, made.decimals)}." for region, word, estimate in made.simple
    )
    body = ""
    if made.effects:
        heads = [Column("Effect", words=True), *(Column(region.capitalize()) for region in made.regions)]
        lines = [Line([name, *(_effect(made, name, region) for region in made.regions)]) for name in made.names]
        body = grid("Effects of the methods, and of pairs of them", heads, lines)
    notes = (*made.explained, *made.lines, *simple)
    return Part("contributions", "What each component contributes", body, (), notes)


def _effect(made: Contributions, name: str, region: str) -> Cell:
    effect = made.effect(name, region)
    clear = effect is not None and effect.clear
    order = None if effect is None else effect.estimate.value
    return Cell(made.cell(effect), order=order, kind="best" if clear else "", said="marked" if clear else "")
