"""What the report says of every workload, from the ledger alone: its table, its comparisons, its notes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.errors import BadInput
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.several import one
from orchestrator.report.across import Across, across
from orchestrator.report.asked import BEST, CONTROL, WHOLE, Asked
from orchestrator.report.budgets import costs
from orchestrator.report.comparisons import Column, Scores
from orchestrator.report.contributions import Contributions, contributions
from orchestrator.report.controls import Control, controls, has_controls
from orchestrator.report.notes import explained, notes, partial
from orchestrator.report.scores import (
    Predicted,
    completed,
    every_prediction,
    kept,
    means,
    of_table,
    predicted,
    scored,
    units_by_number,
    unread,
)
from orchestrator.report.sources import Rows, Source, bases_of, lined_up
from orchestrator.report.tables import Table, anew, judged, only, primary_column, table_of, with_controls
from orchestrator.report.tails import of_tails
from orchestrator.report.verdict import verdict
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.cells import data_root, load_data
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.hparams import UnknownName
from workloads.labels import Floats
from workloads.metrics import HIGHER_IS_BETTER
from workloads.workload import Data, Workload


@dataclass(frozen=True)
class Section:
    """What the report says of one workload."""

    table: Table
    contributions: Contributions
    notes: list[str]
    rows: Rows
    data: Data
    controls: Sequence[Control]
    workload: Workload
    """With the metrics and regions that are shown."""
    runs: Mapping[str, Sequence[float]]
    """By recipe, the error of every seed in the primary column."""
    partial: str
    """What is missing of a study that has not ended; empty where it has."""
    costs: str = ""
    """What training took; not in table.md, which is the same however often a study was interrupted."""

    @property
    def plans(self) -> list[CellPlan]:
        """The cells of the table's recipes, in their order."""
        return self.rows.plans

    @property
    def verdict(self) -> list[str]:
        """What the table says, in sentences."""
        return verdict(self.table, self.contributions.reweighting)

    @property
    def changes(self) -> list[str]:
        """Metrics that recipes are compared in."""
        compared = {metric for _, (metric, _) in self.table.comparisons}
        return [metric for metric in self.workload.metrics if metric in compared]

    @property
    def against(self) -> str:
        """What all differences are to; the objective alone where recipes build on several."""
        return f"`{self.table.bases[0]}`" if len(self.table.bases) == 1 else "the objective alone"

    @property
    def explained(self) -> list[str]:
        """How to read the tables of changes."""
        return explained(self.table, self.data, any(plan.replicated for plan in self.plans))


@dataclass(frozen=True)
class Results:
    """A study, its ledger, and what the report says of every workload; several studies have one name and ledger."""

    study: Study
    ledger: Ledger
    sections: Sequence[Section]

    @property
    def tables(self) -> list[Table]:
        """The tables of all workloads."""
        return [section.table for section in self.sections]

    @property
    def across(self) -> Across | str:
        """What recipes are worth over all workloads; a sentence where nothing can be said."""
        bases = {base for table in self.tables for base in table.bases}
        runs = {section.table.workload: section.runs for section in self.sections}
        return across(runs, bases.pop() if len(bases) == 1 else None)

    @property
    def rule(self) -> str:
        """The score that trials are judged by, `val/metric/region`."""
        return self.study.tune.select_by


def sections(study: Study, planner: Planner, ledger: Ledger, asked: Asked = WHOLE) -> list[Section]:
    """One section per workload, in the study's order."""
    return assembled([Source(study, planner, ledger)], asked)


def assembled(sources: Sequence[Source], asked: Asked = WHOLE) -> list[Section]:
    """One section per workload of one study or several; of several, the first says what is primary, and the margin."""
    study, ledger = sources[0].study, one([source.ledger for source in sources])
    return [_section(study, ledger, name, rows, asked) for name, rows in lined_up(sources, asked).items()]


def _section(study: Study, ledger: Ledger, name: str, rows: Rows, asked: Asked) -> Section:
    workload = asked.of(WORKLOADS[name])
    own, plans = rows.sources[0].study, rows.plans
    data = load_data(WORKLOADS[name], data_root(own), own.storage)
    bases, units = bases_of(rows), units_by_number(plans)
    plain = table_of(name, plans, bases)
    if asked.anew(WORKLOADS[name]):
        plain = anew(plain, kept(plans, ledger), data, workload, units)
    plain = replace(plain, columns=tuple(column for column in plain.columns if column[0] in workload.metrics))
    shown = any(row.scores for row in plain.rows)
    base = bases.get(plans[0].row, str(plans[0].cell.recipe.objective))
    recalibrated = [plan for plan in plans if plan.row == base] if has_controls(WORKLOADS[name]) else []
    validation = _validation(recalibrated, ledger)
    validated = _validated(recalibrated, ledger, validation)
    simple = controls(WORKLOADS[name], data, base, validated, ledger.store) if shown else []
    read: set[tuple[str, int]] = set()
    every = _noted(every_prediction(plans, ledger, data, simple), read)
    known, further = scored(every, [of_table(workload, data), of_tails(workload, data)], units)
    wanted = study.report.primary if _shows(workload, study.report.primary) else None
    primary = primary_column(workload, study.tune.select_by, wanted, known)
    whole = with_controls(plain, simple, data, workload, units)
    whole = replace(whole, primary=primary)
    table = judged(whole, known, primary, study.report.margin, further, _against(whole, asked))
    if asked.recipes:
        table = only(table, [plan.row for plan in plans], asked.recipes)
    without = unread(recalibrated, {(base, number) for number in validation})
    said = notes(rows, table, data, workload, unread(plans, read), without)
    runs = {row.recipe: _errors(known, row.recipe, primary) for row in table.recipes}
    return Section(
        table, contributions(table, known), said, rows, data, simple, workload, runs, partial(rows), costs(plans)
    )


def _noted(predictions: Iterable[Predicted], read: set[tuple[str, int]]) -> Iterator[Predicted]:
    """The predictions, while their rows and seed numbers are noted."""
    for one_of in predictions:
        read.add(one_of[:2])
        yield one_of


def _shows(workload: Workload, column: str | None) -> bool:
    return column is not None and column.partition("/")[0] in workload.metrics


def _against(table: Table, asked: Asked) -> str | None:
    """The row that all are compared with, where one was asked for; raises BadInput for one that is not there."""
    if asked.against is None:
        return None
    chosen = {BEST: table.leader, CONTROL: table.control}
    if asked.against in chosen:
        row = chosen[asked.against]
        return None if row is None else row.recipe
    names = [row.recipe for row in table.rows]
    if asked.against not in names:
        raise BadInput(str(UnknownName("row", asked.against, names, f"the table of {table.workload}")))
    return asked.against


def _errors(known: Scores, recipe: str, column: Column) -> list[float]:
    """The score of every seed in a column, as an error: less is better."""
    metric, region = column
    if region not in known or metric not in known[region].sums:
        return []
    sign = -1.0 if metric in HIGHER_IS_BETTER else 1.0
    return [sign * value for value in means(known[region], metric).get(recipe, [])]


def _validation(plans: Sequence[CellPlan], ledger: Ledger) -> dict[int, Floats]:
    """Predictions of validation rows by seed number, where the ledger has them."""
    found = {record.number: ledger.validation(record) for plan in plans for record in completed(plan)}
    return {number: table["pred"].to_numpy().astype(np.float64) for number, table in found.items() if table is not None}


def _validated(
    plans: Sequence[CellPlan], ledger: Ledger, validation: Mapping[int, Floats]
) -> dict[int, tuple[Floats, Floats]]:
    """The same beside those of test rows, where the ledger has both."""
    return {
        record.number: (validation[record.number], test[1])
        for plan in plans
        for record in completed(plan)
        if record.number in validation and (test := predicted(ledger, record)) is not None
    }
