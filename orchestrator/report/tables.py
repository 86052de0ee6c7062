"""A study's results as rows: test scores by metric and region, with what can be said of them."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from orchestrator.report.budgets import Spent, by_recipe, spent
from orchestrator.report.comparisons import Column, Comparison, Scores, against_base, best_set, compare
from orchestrator.report.controls import Control
from orchestrator.report.row_scores import PERCENT
from orchestrator.report.scores import NATURAL, Predicted, completed, means
from orchestrator.report.stats import Spread, holm, spread
from orchestrator.study.cell_plan import CellPlan
from workloads import WORKLOADS
from workloads.held_out import rows_by_region
from workloads.labels import REGIONS, Floats
from workloads.metrics import HIGHER_IS_BETTER, PER_ROW, shot_metrics
from workloads.recipe import Recipe
from workloads.workload import Data, Workload

TITLES: Final = {
    "mae": "MAE",
    "mse": "MSE",
    "rmse": "RMSE",
    "gm": "GM",
    "bmae": "balanced MAE",
    "accuracy": "Accuracy %",
    "error": "Error %",
    "miou": "Mean IoU %",
    "absrel": "Abs rel",
    "delta1": "δ < 1.25",
    "sera": "SERA",
}
ERROR: Final = {"regression": "mae", "classification": "error"}
"""The metric that figures show, by the workload's task."""


@dataclass(frozen=True)
class Row:
    """One recipe on one workload: test scores over its seeds, and why some are missing."""

    workload: str
    recipe: str
    seeds: int
    scores: dict[Column, Spread]
    missing: str
    uses: str = ""
    """Of a control: what it was fitted to."""
    base: str = ""
    """The row that it is compared with, where there is one: its objective alone, without methods."""
    study: str = ""
    """Whose it is, where several studies have the recipe."""
    adjusted: bool = False
    """Whether its recipe acts after training."""
    spent: Spent | None = None
    """What its trials used; a control has none."""


def label_decimals(workload: str) -> int:
    """Decimals of an error: hundredths of a bin, at least two; two of a percentage where labels are classes."""
    if WORKLOADS[workload].task == "classification":
        return 2
    return max(2, 2 - math.floor(math.log10(WORKLOADS[workload].grid.width)))


@dataclass(frozen=True)
class Table:
    """The rows of a workload, its columns (metric, region), and the test rows per region.

    `best` has, by column, the recipes that cannot be told from the best one; `comparisons` every recipe against its
    base, by recipe and column. Both are empty in a table that was made without predictions.
    """

    workload: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    counts: dict[str, int]
    best: Mapping[Column, frozenset[str]] = field(default_factory=dict)
    comparisons: Mapping[tuple[str, Column], Comparison] = field(default_factory=dict)
    primary: Column = ("mae", "few")
    margin: float = 0.0
    further: Mapping[Column, int] = field(default_factory=dict)
    """Columns that the table does not show, in which rows have scores as well (`tails`), with their test rows."""
    further_comparisons: Mapping[tuple[str, Column], Comparison] = field(default_factory=dict)
    against_leader: Mapping[str, Comparison] = field(default_factory=dict)
    """Controls and recalibrated recipes against the best recipe in the primary column, corrected for their number."""

    def comparison(self, recipe: str, column: Column) -> Comparison | None:
        """A recipe against its base in a column, a further one or not."""
        return self.comparisons.get((recipe, column), self.further_comparisons.get((recipe, column)))

    def decimals(self, metric: str) -> int:
        """Decimals that say something: those of labels, two of a percentage, three of what lies between 0 and 1."""
        if metric in PERCENT:
            return 2
        return 3 if metric in HIGHER_IS_BETTER else label_decimals(self.workload)

    def is_best(self, recipe: str, column: Column) -> bool:
        """Whether a recipe cannot be told from the best one of a column."""
        return recipe in self.best.get(column, frozenset())

    @property
    def recipes(self) -> tuple[Row, ...]:
        """The rows that the study trained."""
        return tuple(row for row in self.rows if not row.uses)

    @property
    def leader(self) -> Row | None:
        """The recipe with the best mean in the primary column."""
        return self._first(self.recipes)

    @property
    def control(self) -> Row | None:
        """The control with the best mean in the primary column."""
        return self._first([row for row in self.rows if row.uses])

    def _first(self, rows: Sequence[Row]) -> Row | None:
        sign = -1.0 if self.primary[0] in HIGHER_IS_BETTER else 1.0
        scored = [row for row in rows if self.primary in row.scores]
        return min(scored, key=lambda row: sign * row.scores[self.primary].mean) if scored else None

    @property
    def base(self) -> str | None:
        """The recipe that controls are compared with: the first objective that stands alone."""
        return next((row.recipe for row in self.recipes if row.recipe in self.bases), None)

    @property
    def compared(self) -> tuple[str, ...]:
        """Recipes that were compared with a base, in the order of the rows."""
        named = {recipe for recipe, _ in self.comparisons}
        return tuple(row.recipe for row in self.rows if row.recipe in named)

    @property
    def bases(self) -> tuple[str, ...]:
        """What recipes were compared with."""
        return tuple(dict.fromkeys(made.base for made in self.comparisons.values()))


def tables(plans: Sequence[CellPlan]) -> list[Table]:
    """One table per workload from the ledger's scores, rows in the study's order; nothing is compared."""
    return [
        table_of(workload, [plan for plan in plans if plan.cell.workload == workload])
        for workload in dict.fromkeys(plan.cell.workload for plan in plans)
    ]


def table_of(workload: str, plans: Sequence[CellPlan], bases: Mapping[str, str] | None = None) -> Table:
    """The table of one workload; `bases` has the rows that others are compared with, where studies are merged."""
    known = {plan.row: str(Recipe(plan.cell.recipe.objective)) for plan in plans} if bases is None else bases
    counts: dict[str, int] = {}
    rows: list[Row] = []
    metrics = WORKLOADS[workload].metrics
    for (_, recipe), group in by_recipe(plans).items():
        records = [(plan.unit(record.number), record) for plan in group for record in completed(plan)]
        values: dict[Column, dict[int, list[float]]] = {}
        for unit, record in records:
            for score in record.test or ():
                counts[score.region] = score.count
                if score.value is not None and score.metric in metrics:
                    shown = 100 * score.value if score.metric in PERCENT else score.value
                    column = (score.metric, score.region)
                    values.setdefault(column, {}).setdefault(unit, []).append(shown)
        rows.append(
            Row(
                workload,
                recipe,
                len({unit for unit, _ in records}),
                _over_units(values),
                "; ".join(dict.fromkeys(why for plan in group if (why := plan.missing()))),
                base=known.get(recipe, ""),
                study=group[0].study,
                adjusted=bool(group[0].cell.recipe.adjustment),
                spent=spent(group),
            )
        )
    return Table(workload, columns_of(metrics, counts), tuple(rows), counts)


def _over_units(values: Mapping[Column, Mapping[int, Sequence[float]]]) -> dict[Column, Spread]:
    """Mean and deviation over units, each the mean of its seeds."""
    return {column: spread([math.fsum(v) / len(v) for v in units.values()]) for column, units in values.items()}


def only(table: Table, rows: Collection[str], asked: Collection[str]) -> Table:
    """The table with these rows of recipes; of controls all, or only those that were asked for by name."""
    named = [row.recipe for row in table.rows if row.uses and row.recipe in asked]
    shown = tuple(
        row for row in table.rows if (row.recipe in (named or [row.recipe]) if row.uses else row.recipe in rows)
    )
    return replace(table, rows=shown)


def primary_column(workload: Workload, select_by: str, asked: str | None, scores: Scores) -> Column:
    """The column whose marks are corrected for its own recipes only: what was asked for, as `metric/region`.

    Without a wish it is the metric of the selection rule, or the task's error where that has no intervals, in the
    few-shot region, or in `all` where the test set has no such rows.
    """
    if asked is not None:
        metric, _, region = asked.partition("/")
        return metric, region
    metric = select_by.split("/")[1]
    if metric not in PER_ROW or metric not in workload.metrics:
        metric = ERROR[workload.task] if ERROR[workload.task] in workload.metrics else workload.metrics[0]
    return metric, "few" if "few" in scores else "all"


def with_controls(
    table: Table,
    controls: Sequence[Control],
    data: Data,
    workload: Workload | None = None,
    units: Mapping[int, int] | None = None,
) -> Table:
    """The table with a row for every control behind the recipes.

    `workload` is as it is to be shown, and `units` has what a seed number counts as.
    """
    workload = workload or WORKLOADS[table.workload]
    rows = list(table.rows)
    for control in controls:
        preds = [((units or {}).get(number or 0, number or 0), pred) for number, pred in control.predictions.items()]
        spreads = _spreads(preds, data, workload)
        rows.append(Row(table.workload, control.row, len({unit for unit, _ in preds}), spreads, "", control.uses))
    return replace(table, rows=tuple(rows))


def anew(table: Table, kept: Iterable[Predicted], data: Data, workload: Workload, units: Mapping[int, int]) -> Table:
    """The table with the scores of its recipes computed from predictions: other metrics, or other regions.

    Seeds without predictions are left out.
    """
    preds: dict[str, list[tuple[int, Floats]]] = {}
    for recipe, number, _, pred in kept:
        preds.setdefault(recipe, []).append((units[number], pred))
    rows = tuple(
        replace(row, seeds=len({unit for unit, _ in of_row}), scores=_spreads(of_row, data, workload))
        for row in table.rows
        for of_row in [preds.get(row.recipe, [])]
    )
    counts = {"all": len(data.test.y), **rows_by_region(workload, data)}
    return replace(table, columns=columns_of(workload.metrics, counts), rows=rows, counts=counts)


def columns_of(metrics: Sequence[str], counts: Mapping[str, int]) -> tuple[Column, ...]:
    """The columns of a table: every metric in all rows and every region; zero-shot only where there is such a row."""
    kept = [region for region in ("all", *REGIONS) if region != "zero" or counts.get("zero")]
    return tuple((metric, region) for metric in metrics for region in kept)


def _spreads(predictions: Iterable[tuple[int, Floats]], data: Data, workload: Workload) -> dict[Column, Spread]:
    """Mean and deviation of every score that these predictions of the test rows `[N]` have, each with its unit."""
    y, where = data.test.y.numpy(), workload.regions(data, data.test)
    values: dict[Column, dict[int, list[float]]] = {}
    for unit, pred in predictions:
        for region, found in shot_metrics(pred, y, where, workload.metrics, workload.grid.unit).items():
            for metric, score in found.items():
                if score.value is not None:
                    shown = 100 * score.value if metric in PERCENT else score.value
                    values.setdefault((metric, region), {}).setdefault(unit, []).append(shown)
    return _over_units(values)


def judged(
    table: Table,
    scores: Scores,
    primary: Column,
    margin: float,
    further: Scores = MappingProxyType({}),
    against: str | None = None,
) -> Table:
    """The table with its natural columns, with every recipe compared with its base, and the best sets.

    The base of a recipe is its objective alone, without methods; `against` is one row that all are compared with.
    `further` scores are compared among themselves: they are no part of the corrections of the table.
    """
    recipes = [row.recipe for row in table.rows]
    first = against or next((row.base for row in table.recipes if row.base in recipes), "")
    bases, there = {row.recipe: first if row.uses or against else row.base for row in table.rows}, set(recipes)
    bases = {recipe: base for recipe, base in bases.items() if base in there and base != recipe}
    columns, rows = table.columns, table.rows
    if NATURAL in scores:
        natural = {metric: means(scores[NATURAL], metric) for metric in scores[NATURAL].sums}
        columns = tuple(
            added
            for column in columns
            for added in (column, *([(column[0], NATURAL)] if column[1] == "all" and column[0] in natural else []))
        )
        rows = tuple(replace(row, scores=row.scores | _of_seeds(row, NATURAL, natural)) for row in rows)
    for region, view in further.items():
        known = {metric: means(view, metric) for metric in view.sums}
        rows = tuple(replace(row, scores=row.scores | _of_seeds(row, region, known)) for row in rows)
    made = Table(
        table.workload,
        columns,
        rows,
        table.counts,
        {column: best_set(scores, column, recipes) for column in columns},
        against_base(scores, bases, primary, margin),
        primary,
        margin,
        {(metric, region): view.units.count for region, view in further.items() for metric in view.sums},
        against_base(further, bases, primary, margin),
    )
    return replace(made, against_leader=_against_leader(made, scores))


def _against_leader(table: Table, scores: Scores) -> dict[str, Comparison]:
    leader = table.leader
    if leader is None:
        return {}
    rows = [row for row in table.rows if row.uses or row.adjusted]
    made = {row.recipe: compare(scores, *table.primary, row.recipe, leader.recipe) for row in rows if row is not leader}
    found = {recipe: one for recipe, one in made.items() if one is not None and one.estimate is not None}
    adjusted = holm([one.p for one in found.values()])
    return {r: replace(one, p_column=p) for (r, one), p in zip(found.items(), adjusted, strict=True)}


def _of_seeds(row: Row, region: str, known: Mapping[str, Mapping[str, list[float]]]) -> dict[Column, Spread]:
    """The scores of a row in a region, by metric; a control without seeds of its own has one."""
    return {(m, region): spread(v[row.recipe][: row.seeds]) for m, v in known.items() if row.recipe in v}
