"""A study's results as rows: test scores by metric and region, with what can be said of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from orchestrator.report.budgets import Spent, by_recipe, spent
from orchestrator.report.comparisons import Column, Comparison, Scores, against_base, best_set
from orchestrator.report.controls import Control
from orchestrator.report.row_scores import PERCENT
from orchestrator.report.scores import NATURAL, completed, means
from orchestrator.report.stats import Spread, spread
from orchestrator.study.planner import CellPlan
from workloads import WORKLOADS
from workloads.labels import REGIONS
from workloads.metrics import HIGHER_IS_BETTER, PER_ROW, shot_metrics
from workloads.recipe import Recipe
from workloads.workload import Data

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
        _table(workload, [plan for plan in plans if plan.cell.workload == workload])
        for workload in dict.fromkeys(plan.cell.workload for plan in plans)
    ]


def _spreads(values: Mapping[Column, Mapping[int, Sequence[float]]]) -> dict[Column, Spread]:
    """Mean and deviation over units, each the mean of its seeds."""
    return {column: spread([math.fsum(v) / len(v) for v in units.values()]) for column, units in values.items()}


def _table(workload: str, plans: Sequence[CellPlan]) -> Table:
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
        units = len({unit for unit, _ in records})
        missing = "; ".join(dict.fromkeys(why for plan in group if (why := plan.missing())))
        rows.append(Row(workload, recipe, units, _spreads(values), missing, spent=spent(group)))
    kept = [region for region in ("all", *REGIONS) if region != "zero" or counts.get("zero")]
    return Table(workload, tuple((m, r) for m in metrics for r in kept), tuple(rows), counts)


def primary_column(workload: str, select_by: str, asked: str | None, scores: Scores) -> Column:
    """The column whose marks are corrected for its own recipes only: what was asked for, as `metric/region`.

    Without a wish it is the metric of the selection rule, or the task's error where that has no intervals, in the
    few-shot region, or in `all` where the test set has no such rows.
    """
    if asked is not None:
        metric, _, region = asked.partition("/")
        return metric, region
    metric = select_by.split("/")[1]
    if metric not in PER_ROW or metric not in WORKLOADS[workload].metrics:
        metric = ERROR[WORKLOADS[workload].task]
    return metric, "few" if "few" in scores else "all"


def with_controls(
    table: Table, controls: Sequence[Control], data: Data, units: Mapping[int, int] | None = None
) -> Table:
    """The table with a row for every control behind the recipes; `units` has what a seed number counts as."""
    workload = WORKLOADS[table.workload]
    y, where = data.test.y.numpy(), workload.regions(data, data.test)
    rows = list(table.rows)
    for control in controls:
        values: dict[Column, dict[int, list[float]]] = {}
        seen: set[int] = set()
        for number, pred in control.predictions.items():
            of = (units or {}).get(number or 0, number or 0)
            seen.add(of)
            for region, found in shot_metrics(pred, y, where, workload.metrics, workload.grid.unit).items():
                for metric, score in found.items():
                    if score.value is not None:
                        shown = 100 * score.value if metric in PERCENT else score.value
                        values.setdefault((metric, region), {}).setdefault(of, []).append(shown)
        rows.append(Row(table.workload, control.row, len(seen), _spreads(values), "", control.uses))
    return replace(table, rows=tuple(rows))


def judged(table: Table, scores: Scores, primary: Column, margin: float) -> Table:
    """The table with its natural columns, with every recipe compared with its base, and the best sets.

    The base of a recipe is its objective alone, without methods.
    """
    recipes = [row.recipe for row in table.rows]
    bases = {row.recipe: str(Recipe(Recipe.parse(row.recipe).objective)) for row in table.recipes}
    bases = {recipe: base for recipe, base in bases.items() if base in recipes}
    first = next(iter(bases.values()), None)
    bases = {recipe: base for recipe, base in bases.items() if recipe != base}
    if first is not None:
        bases |= {row.recipe: first for row in table.rows if row.uses}
    columns, rows = table.columns, table.rows
    if NATURAL in scores:
        natural = {metric: means(scores[NATURAL], metric) for metric in scores[NATURAL].sums}
        columns = tuple(
            added
            for column in columns
            for added in (column, *([(column[0], NATURAL)] if column[1] == "all" and column[0] in natural else []))
        )
        rows = tuple(replace(row, scores=row.scores | _natural(row, natural)) for row in rows)
    return Table(
        table.workload,
        columns,
        rows,
        table.counts,
        {column: best_set(scores, column, recipes) for column in columns},
        against_base(scores, bases, primary, margin),
        primary,
        margin,
    )


def _natural(row: Row, natural: Mapping[str, Mapping[str, list[float]]]) -> dict[Column, Spread]:
    """The natural scores of a row; a control without seeds of its own has one."""
    return {(m, NATURAL): spread(v[row.recipe][: row.seeds]) for m, v in natural.items() if row.recipe in v}
