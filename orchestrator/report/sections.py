"""What the report says of every workload, from the ledger alone: its table, its comparisons, its notes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.ledger.ledger import Ledger
from orchestrator.report.contributions import Contributions, contributions
from orchestrator.report.controls import Control, controls
from orchestrator.report.notes import explained, notes
from orchestrator.report.scores import completed, predicted, scores
from orchestrator.report.tables import Table, judged, primary_column, tables, with_controls
from orchestrator.report.tails import further_scores
from orchestrator.report.verdict import verdict
from orchestrator.study.cells import data_root, load_data
from orchestrator.study.planner import CellPlan, Planner
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.labels import Floats
from workloads.recipe import Recipe
from workloads.workload import Data


@dataclass(frozen=True)
class Section:
    """What the report says of one workload."""

    table: Table
    contributions: Contributions
    notes: list[str]
    plans: list[CellPlan]
    data: Data
    controls: Sequence[Control] = ()

    @property
    def verdict(self) -> list[str]:
        """What the table says, in sentences."""
        return verdict(self.table, self.contributions.reweighting)

    @property
    def changes(self) -> list[str]:
        """Metrics that recipes are compared in."""
        compared = {metric for _, (metric, _) in self.table.comparisons}
        return [metric for metric in WORKLOADS[self.table.workload].metrics if metric in compared]

    @property
    def against(self) -> str:
        """What all differences are to; the objective alone where recipes build on several."""
        return f"`{self.table.bases[0]}`" if len(self.table.bases) == 1 else "the objective alone"

    @property
    def explained(self) -> list[str]:
        """How to read the tables of changes."""
        return explained(self.table, self.data)


@dataclass(frozen=True)
class Results:
    """A study, its plan, its ledger, and what the report says of every workload."""

    study: Study
    planner: Planner
    ledger: Ledger
    sections: Sequence[Section]


def sections(study: Study, planner: Planner, ledger: Ledger) -> list[Section]:
    """One section per workload, in the study's order."""
    found = []
    for plain in tables(planner.plans):
        plans = [plan for plan in planner.plans if plan.cell.workload == plain.workload]
        workload = WORKLOADS[plain.workload]
        data = load_data(workload, data_root(study), study.storage)
        base = str(Recipe(plans[0].cell.recipe.objective))
        validated = _validated(plans, ledger, base)
        shown = any(row.scores for row in plain.rows)
        simple = controls(workload, data, base, validated, ledger.store) if shown else []
        known = scores(plans, ledger, data, simple)
        primary = primary_column(plain.workload, study.tune.select_by, study.report.primary, known)
        further = further_scores(plans, ledger, data, simple)
        table = judged(with_controls(plain, simple, data), known, primary, study.report.margin, further)
        said = notes(study, planner, table, plans, data)
        found.append(Section(table, contributions(table, known), said, plans, data, simple))
    return found


def _validated(plans: Sequence[CellPlan], ledger: Ledger, base: str) -> dict[int, tuple[Floats, Floats]]:
    """The base's predictions of validation and test rows by seed number, where the ledger has both."""
    found = {}
    for plan in plans:
        for record in completed(plan) if str(plan.cell.recipe) == base else ():
            validation, test = ledger.validation(record), predicted(ledger, record)
            if validation is not None and test is not None:
                found[record.number] = (validation["pred"].to_numpy().astype(np.float64), test[1])
    return found
