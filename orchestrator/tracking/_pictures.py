"""Pictures of a row: its learning curves, and its error by label beside that of the objective alone."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from orchestrator.ledger.ledger import Ledger
from orchestrator.report.featured import Featured, Role
from orchestrator.report.scores import completed, predicted
from orchestrator.report.search.learning import learning_curves
from orchestrator.study.cell_plan import CellPlan
from workloads.recipe import Recipe


def base_of(plan: CellPlan, plans: Iterable[CellPlan]) -> CellPlan | None:
    """The cell of the objective alone, of the same data set and replicate; None for that one itself."""
    alone = (plan.cell.workload, Recipe(plan.cell.recipe.objective), plan.cell.again)
    found = (one for one in plans if (one.cell.workload, one.cell.recipe, one.cell.again) == alone)
    return next((one for one in found if one is not plan), None)


def marked(plan: CellPlan, base: CellPlan | None) -> str:
    """What the pictures are made of: the same mark, the same pictures. Empty where nothing is drawn yet."""
    names = [[record.trial_id for record in completed(one)] for one in (plan, base) if one is not None]
    return hashlib.sha256(repr(names).encode()).hexdigest() if names[0] else ""


def pictures(plan: CellPlan, base: CellPlan | None, rule: str, ledger: Ledger) -> dict[str, bytes]:
    """PNG files by name; `rule` is the score of the learning curves, `val/metric/region`."""
    from orchestrator.report.figures.label_error import draw_row_error  # matplotlib is slow to import
    from orchestrator.report.figures.learning import learning_curves as draw_learning

    drawn = {}
    curves = learning_curves(plan, rule)
    if curves is not None:
        drawn["learning-curves.png"] = draw_learning({str(plan.cell.recipe): curves}, rule).file("png")
    shown = [*_featured(base, "base", ledger), *_featured(plan, "best", ledger)]
    if len({len(one.y) for one in shown}) == 1:
        drawn["error-by-label.png"] = draw_row_error(plan.cell.workload, shown).file("png")
    return drawn


def _featured(plan: CellPlan | None, role: Role, ledger: Ledger) -> Sequence[Featured]:
    """A row with its predictions; none where they are missing."""
    records = [] if plan is None else completed(plan)
    pairs = [pair for record in records if record.predictions and (pair := predicted(ledger, record)) is not None]
    if plan is None or not pairs:
        return []
    return [Featured(str(plan.cell.recipe), role, pairs[0][0], np.stack([pred for _, pred in pairs]))]
