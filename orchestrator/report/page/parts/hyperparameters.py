"""What the search says: how flat the optimum is, what matters, and what a smaller budget would have found."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from orchestrator.report.figures.budget import budget_curves
from orchestrator.report.figures.drawing import Drawing
from orchestrator.report.figures.heat_map import heat_maps as draw_maps
from orchestrator.report.figures.learning import learning_curves as draw_learning
from orchestrator.report.figures.responses import responses as draw_responses
from orchestrator.report.formats import NOTHING
from orchestrator.report.page.grid import Column, Line, grid
from orchestrator.report.page.part import Part
from orchestrator.report.search.axes import heat_maps, responses
from orchestrator.report.search.budget import budget_curve
from orchestrator.report.search.flatness import Flatness, flatness
from orchestrator.report.search.importance import Importance, importance
from orchestrator.report.search.learning import learning_curves
from orchestrator.report.sections import Results, Section
from orchestrator.study.cell_plan import CellPlan
from workloads.hparams import Value

CURVES: Final = 5
"""Recipes whose learning curves are drawn: more lie upon one another."""
MOST: Final = 20
"""Cells that a figure has lines of: more are not told apart, and a legend of hundreds leaves no room for them."""
Found = TypeVar("Found")


def hyperparameters(results: Results, section: Section) -> Part | None:
    """Nothing where no trial of a search has ended."""
    rule = results.rule
    budgets = _each(_chosen(section, len(section.plans)), lambda plan: budget_curve(plan, rule))
    if not budgets:
        return None
    rows = [(plan.label, _flat(flatness(plan, rule)), _important(importance(plan, rule))) for plan in section.plans]
    drawn: list[Drawing] = []
    if max(len(curve.best) for curve in budgets.values()) > 1:
        drawn.append(budget_curves(budgets, rule))
    if found := responses(section.plans, rule):
        drawn.append(draw_responses(found, rule))
    if maps := heat_maps(section.plans, rule):
        drawn.append(draw_maps(maps, rule))
    if curves := _each(_chosen(section, CURVES), lambda plan: learning_curves(plan, rule)):
        drawn.append(draw_learning(curves, rule))
    heads = [Column(name, words=True) for name in ("Recipe", "Settings as good as the best", "Importance")]
    body = grid("Flatness and importance", heads, [Line(row) for row in rows])
    return Part("search", "What the search says", body, tuple(drawn), tuple(_explained(rule)))


def _each(plans: Sequence[CellPlan], make: Callable[[CellPlan], Found | None]) -> dict[str, Found]:
    return {plan.label: found for plan in plans if (found := make(plan)) is not None}


def _chosen(section: Section, rows: int) -> list[CellPlan]:
    """Cells of so many rows, at most `MOST`, first replicates first: of bases, then of the best means."""
    table = section.table
    scored = [row for row in table.recipes if table.primary in row.scores]
    order = sorted(scored, key=lambda row: sum(section.runs.get(row.recipe, [])) / max(row.seeds, 1))
    ended = [plan.row for plan in section.plans if plan.records("tune")]
    places = {name: n for n, name in enumerate(dict.fromkeys([*table.bases, *(r.recipe for r in order), *ended]))}
    plans = [plan for plan in section.plans if places.get(plan.row, rows) < rows]
    first = sorted(plans, key=lambda plan: (plan.cell.replicate, places[plan.row]))[:MOST]
    labels = {plan.label for plan in first}
    return [plan for plan in plans if plan.label in labels]


def _value(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _flat(found: Flatness | None) -> str:
    """`3 of 4 within 0.35: lds.width 3 … 9, lds.kernel gaussian or triang`."""
    if found is None:
        return NOTHING
    spans = [
        f"{name} {' or '.join(map(_value, span))}"
        if isinstance(span[0], str | bool)
        else f"{name} {_value(span[0])}" + (f" … {_value(span[-1])}" if span[-1] != span[0] else "")
        for name, span in found.spans.items()
    ]
    return f"{found.within} of {found.of} within {found.noise:.2g}: {', '.join(spans)}"


def _important(found: Importance) -> str:
    """`all: lds.width 62 %, lds.kernel 38 %; few: …`, or why nothing is said."""
    if found.unsaid or not found.shares:
        return found.unsaid or NOTHING
    return "; ".join(
        f"{region}: {', '.join(f'{name} {100 * share:.0f} %' for name, share in shares.items())}"
        for region, shares in found.shares.items()
    )


def _explained(rule: str) -> list[str]:
    return [
        f"Within the noise: settings whose {rule} is no further behind the best than two runs of one setting differ in "
        "95 % of cases, from the seeds of the selected setting; with the values that they have.",
        "Importance: share of the variance of the score over the search (fANOVA), by region; hyperparameters that act "
        "in some trials only are left out.",
        "Budget curves: the expected best of b trials drawn from those of the search, without replacement; of the "
        f"base and the best recipes where there are more than {MOST} cells.",
        "best.yaml has every selected setting in full precision, as `space` and `train` of a study file.",
    ]
