"""The settings that tuning selected."""

from orchestrator.report.formats import NOTHING
from orchestrator.report.page.part import Part, render
from orchestrator.report.sections import Results, Section
from orchestrator.report.settings import settings_of


def settings(results: Results, section: Section) -> Part:
    """Every cell's selected setting, with its score."""
    rule = results.study.tune.select_by
    rows = [
        (plan.row, settings_of(plan), plan.selected.score(rule) if plan.selected else None) for plan in section.plans
    ]
    body = render("parts/settings.html.j2", rows=rows, rule=rule, nothing=NOTHING)
    return Part("settings", "Selected settings", body)
