"""What was searched, and the settings that tuning selected."""

from markupsafe import Markup

from orchestrator.report.formats import NOTHING
from orchestrator.report.page.grid import Cell, Column, Line, grid
from orchestrator.report.page.part import Part
from orchestrator.report.sections import Results, Section
from orchestrator.report.settings import ranges, settings_of
from orchestrator.study.cell_plan import CellPlan


def settings(results: Results, section: Section) -> Part:
    """Every cell's selected setting with its score, and every searched range once."""
    rule = results.study.tune.select_by
    heads = [Column("Recipe", words=True), Column("Setting", words=True), Column(rule)]
    lines = [Line([plan.label, settings_of(plan), _score(plan, rule)]) for plan in section.plans]
    parts = [grid("Selected settings", heads, lines)]
    searched = {row[0]: row for plan in reversed(section.plans) for row in ranges(plan.cell)}
    names = dict.fromkeys(row[0] for plan in section.plans for row in ranges(plan.cell))
    if names:
        heads = [Column(name, words=True) for name in ("Name", "Range", "First trial", "Only if")]
        parts.append(grid("Searched hyperparameters", heads, [Line(searched[name]) for name in names]))
    return Part("settings", "Hyperparameters", Markup("\n").join(parts))


def _score(plan: CellPlan, rule: str) -> Cell:
    score = None if plan.chosen is None else plan.chosen.score
    return Cell(NOTHING if score is None else f"{score:.3f}", order=score)
