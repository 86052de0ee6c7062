"""Scores of every test row of a workload, from kept predictions, as comparisons need them."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from orchestrator.errors import StorageFailed
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Record
from orchestrator.ledger.telling import tell
from orchestrator.report.comparisons import Scores, Sums, View
from orchestrator.report.controls import Control
from orchestrator.report.intervals import units_of
from orchestrator.report.row_scores import row_scores
from orchestrator.study.planner import CellPlan
from workloads import WORKLOADS
from workloads.labels import REGIONS, Floats, Ints
from workloads.metrics import LOGARITHMIC, PER_ROW, undefined
from workloads.workload import Data, Workload, groups_of

NATURAL = "natural"
Predicted = tuple[str, int, Floats, Floats]
"""A row of the table, a seed number, labels and predictions `[N]`."""


def completed(plan: CellPlan) -> list[Record]:
    """The evaluated trials of a cell that ended."""
    return [record for record in plan.records("evaluate") if record.status == "completed"]


def predicted(ledger: Ledger, record: Record) -> tuple[Floats, Floats] | None:
    """Labels and predictions of the test rows `[N]`; None, with a word, where they are missing.

    The record has the scores of its table; only comparisons lack this seed then.
    """
    try:
        table = ledger.predictions(record)
    except StorageFailed as err:
        tell(str(err))
        return None
    y, pred = (table[name].to_numpy().astype(np.float64) for name in ("y", "pred"))
    return y, pred


def natural_weights(workload: Workload, data: Data) -> Floats | None:
    """The weight of every test row, `[N]`, that gives the test set the label distribution of all labelled rows.

    A held-out split is often drawn to be balanced over labels. With p_b the share of bin b among all rows of all
    splits and n_b its test rows, a row of bin b weighs p_b / n_b, scaled to a mean of 1; bins without test rows are
    left out. None where labels are maps or classes, and where the test set has that distribution already.
    """
    if workload.dense or workload.task != "regression":
        return None
    test = workload.grid.counts(data.test.y.numpy())
    every = test + sum(workload.grid.counts(split.y.numpy()) for split in (data.train, data.val))
    share = np.where(test > 0, every, 0) / np.maximum(test, 1)
    weights = share[workload.grid.bin(data.test.y.numpy())].astype(np.float64)
    weights /= weights.mean()
    return None if np.allclose(weights, 1.0, rtol=0.02) else weights


def _views(workload: Workload, data: Data) -> Iterator[tuple[str, Ints, Floats | None]]:
    """Regions with their rows and the rows' weights."""
    where = workload.regions(data, data.test)
    yield "all", np.arange(len(where)), None
    weights = natural_weights(workload, data)
    if weights is not None:
        yield NATURAL, np.arange(len(where)), weights
    for position, region in enumerate(REGIONS):
        rows = np.flatnonzero(where == position)
        if len(rows):
            yield region, rows, None


def units_by_number(plans: Sequence[CellPlan]) -> dict[int, int]:
    """What every evaluation run counts as, by its number."""
    return {record.number: plan.unit(record.number) for plan in plans for record in completed(plan)}


def scores(plans: Sequence[CellPlan], ledger: Ledger, data: Data, controls: Sequence[Control] = ()) -> Scores:
    """Scores of all evaluated trials of one workload's cells, by region, metric, recipe and seed number.

    Where tuning is repeated, seeds are averaged within their replicate, and replicates take the place of seeds.

    A control without seeds of its own has the same scores under every seed number: its error is that of test rows.
    A trial whose predictions are missing is told, and left out.
    """
    workload = WORKLOADS[plans[0].cell.workload]
    metrics = [m for m in workload.metrics if m in PER_ROW and undefined(m, data.test.y.numpy()) is None]
    where, groups = workload.regions(data, data.test), groups_of(data)
    views = {}
    for region, rows, weights in _views(workload, data):
        each = None if weights is None else weights[rows]
        views[region] = (*units_of(where[rows], None if groups is None else groups[rows], each), rows, each)
    found: dict[tuple[str, str, str, int], list[Floats]] = {}
    units = units_by_number(plans)
    for recipe, number, y, pred in (*_kept(plans, ledger), *_controlled(controls, data, sorted(units))):
        for metric in metrics:
            of_row = row_scores(metric, pred, y, workload.grid.unit)
            for region, (of_rows, owner, rows, each) in views.items():
                values = of_row[rows] if each is None else of_row[rows] * each
                if of_rows.group is not None:
                    values = np.bincount(owner, weights=values).astype(np.float64)
                found.setdefault((region, metric, recipe, units[number]), []).append(values)
    sums: dict[str, dict[str, dict[str, Sums]]] = {region: {m: {} for m in metrics} for region in views}
    for (region, metric, recipe, of), each_seed in found.items():
        sums[region][metric].setdefault(recipe, {})[of] = sum(each_seed[1:], each_seed[0]) / len(each_seed)
    return {region: View(of_rows, sums[region]) for region, (of_rows, *_) in views.items()}


def _kept(plans: Sequence[CellPlan], ledger: Ledger) -> Iterator[Predicted]:
    for plan in plans:
        for record in completed(plan):
            found = predicted(ledger, record)
            if found is not None:
                yield str(plan.cell.recipe), record.number, *found


def _controlled(controls: Sequence[Control], data: Data, numbers: Sequence[int]) -> Iterator[Predicted]:
    y = data.test.y.numpy().astype(np.float64)
    for control in controls:
        for number in numbers:
            pred = control.of_seed(number)
            if pred is not None:
                yield control.row, number, y, pred


def means(view: View, metric: str) -> Mapping[str, list[float]]:
    """Every recipe's score by seed, in the order of seed numbers; of the geometric mean, as in tables."""
    total = float(view.units.rows.sum())
    made = {
        recipe: [float(seeds[number].sum()) / total for number in sorted(seeds)]
        for recipe, seeds in view.sums[metric].items()
    }
    return {r: list(np.exp(v)) if metric in LOGARITHMIC else v for r, v in made.items()}
