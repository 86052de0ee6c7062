"""The rows that figures show of a table: the base, the best control, and the recipes that lead."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from orchestrator.ledger.ledger import Ledger
from orchestrator.report.budgets import by_recipe
from orchestrator.report.row_scores import row_scores
from orchestrator.report.scores import completed, predicted
from orchestrator.report.sections import Section
from orchestrator.report.tables import ERROR, Row, Table
from workloads import WORKLOADS
from workloads.labels import Floats, LabelGrid
from workloads.metrics import HIGHER_IS_BETTER

Role: TypeAlias = Literal["best", "also", "base", "control"]
"""`best` is the recipe with the best mean of the primary column, `also` one that cannot be told from it."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)
MOST: Final = 20
"""Rows alike the best that are shown, those with the best means: more lines hide one another."""
WINDOW: Final = 1 / 12
"""Share of the tested labels' range over which errors are averaged."""
GROUPS: Final = 15
"""Of rows with neighbouring predictions, in a calibration curve."""


@dataclass(frozen=True)
class Featured:
    """A row of the table with labels `[N]` of the test rows and predictions `[S, N]` by seed."""

    recipe: str
    role: Role
    y: Floats
    preds: Floats


def roles(section: Section) -> dict[str, Role]:
    """The featured rows, in the order in which they are drawn; a role whose row is missing has none."""
    table = section.table
    scored = {row.recipe for row in table.rows if table.primary in row.scores}
    sign = -1.0 if table.primary[0] in HIGHER_IS_BETTER else 1.0
    best = sorted(alike(table), key=lambda row: sign * row.scores[table.primary].mean)[:MOST]
    found: dict[str, Role] = {row.recipe: "also" for row in table.recipes if row in best}
    for base in table.bases:
        found[base] = "base"
    if table.control is not None:
        found[table.control.recipe] = "control"
    if table.leader is not None and found.get(table.leader.recipe) != "base":
        found[table.leader.recipe] = "best"
    return {recipe: role for recipe, role in found.items() if recipe in scored}


def alike(table: Table) -> list[Row]:
    """The recipes that cannot be told from the best one."""
    return [row for row in table.recipes if table.is_best(row.recipe, table.primary)]


def featured(section: Section, ledger: Ledger, asked: Collection[Role] = ROLES) -> list[Featured]:
    """The featured rows of some roles with their predictions, those of missing predictions left out.

    None without a recipe's.
    """
    found = []
    plans = {row: group for (_, row), group in by_recipe(section.plans).items()}
    controls = {control.row: control for control in section.controls}
    y = section.data.test.y.numpy().astype(np.float64)
    for recipe, role in roles(section).items():
        if role not in asked:
            continue
        if recipe in plans:
            records = [record for plan in plans[recipe] for record in completed(plan)]
            kept = [pair for record in records if (pair := predicted(ledger, record)) is not None]
            preds = [pred for labels, pred in kept if len(labels) == len(y)]
        else:
            preds = list(controls[recipe].predictions.values()) if recipe in controls else []
        if preds:
            found.append(Featured(recipe, role, y, np.stack(preds)))
    return found if any(one.role != "control" for one in found) else []


def label_error(shown: Featured, workload: str, half: int) -> Floats:
    """The test error around every label bin, `[M]`: the mean over seeds and over rows of the bins b - half … b + half.

    NaN where these have no test rows.
    """
    grid, metric = WORKLOADS[workload].grid, ERROR[WORKLOADS[workload].task]
    bins = grid.bin(shown.y)
    rows = np.bincount(bins, minlength=grid.bins).astype(np.float64)
    errors = np.mean([row_scores(metric, pred, shown.y, grid.unit) for pred in shown.preds], axis=0)
    sums = np.bincount(bins, weights=errors, minlength=grid.bins)
    window = np.ones(2 * half + 1)
    near, total = (np.convolve(np.pad(values, half), window, mode="valid") for values in (rows, sums))
    return np.where(near > 0, total / np.maximum(near, 1), np.nan)


def half_window(grid: LabelGrid, y: Floats) -> int:
    """Bins on each side over which errors are averaged: those of a twelfth of the tested range, without its middle."""
    tested = np.flatnonzero(grid.counts(y))
    return round(float(tested[-1] - tested[0] + 1) * WINDOW / 2)


def calibration(shown: Featured, groups: int = GROUPS) -> tuple[Floats, Floats]:
    """Mean prediction and mean label, `[G]` each, of groups of rows with neighbouring predictions, equal in size.

    All seeds are taken together. Equal predictions are in one group: a constant is one point.
    """
    pred, y = shown.preds.ravel(), np.tile(shown.y, len(shown.preds))
    edges = np.unique(np.quantile(pred, np.linspace(0, 1, groups + 1)[1:-1]))
    group = np.searchsorted(edges, pred, side="right")
    rows = np.bincount(group, minlength=len(edges) + 1)
    kept = rows > 0
    means = [np.bincount(group, weights=values, minlength=len(rows))[kept] / rows[kept] for values in (pred, y)]
    return means[0], means[1]
