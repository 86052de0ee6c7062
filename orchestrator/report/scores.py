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
from workloads.held_out import natural_weights
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


def scores(
    plans: Sequence[CellPlan],
    ledger: Ledger,
    data: Data,
    controls: Sequence[Control] = (),
    workload: Workload | None = None,
) -> Scores:
    """Scores of all evaluated trials of one workload's cells, by region, metric, recipe and seed number.

    Where tuning is repeated, seeds are averaged within their replicate, and replicates take the place of seeds.

    A control without seeds of its own has the same scores under every seed number: its error is that of test rows.
    A trial whose predictions are missing is told, and left out. `workload` has the metrics and regions to show.
    """
    workload = workload or WORKLOADS[plans[0].cell.workload]
    metrics = [m for m in workload.metrics if m in PER_ROW and undefined(m, data.test.y.numpy()) is None]
    where, groups = workload.regions(data, data.test), groups_of(data)
    views = {}
    for region, rows, weights in _views(workload, data):
        each = None if weights is None else weights[rows]
        views[region] = (*units_of(where[rows], None if groups is None else groups[rows], each), rows, each)
    found: PerSeed = {}
    for recipe, number, y, pred in every_prediction(plans, ledger, data, controls):
        for metric in metrics:
            of_row = row_scores(metric, pred, y, workload.grid.unit)
            for region, (of_rows, owner, rows, each) in views.items():
                values = of_row[rows] if each is None else of_row[rows] * each
                if of_rows.group is not None:
                    values = np.bincount(owner, weights=values).astype(np.float64)
                found.setdefault((region, metric, recipe), {})[number] = values
    sums = of_units(found, units_by_number(plans))
    return {
        region: View(of_rows, {m: sums.get((region, m), {}) for m in metrics})
        for region, (of_rows, *_) in views.items()
    }


PerSeed = dict[tuple[str, str, str], dict[int, Floats]]
"""Sums of the units of rows by region, metric and recipe, and by seed number."""


def of_units(found: PerSeed, units: Mapping[int, int]) -> dict[tuple[str, str], dict[str, Sums]]:
    """By region and metric, what every recipe has by what its seeds count as: seeds of one replicate are averaged."""
    sums: dict[tuple[str, str], dict[str, Sums]] = {}
    for (region, metric, recipe), seeds in found.items():
        of: dict[int, list[Floats]] = {}
        for number, values in seeds.items():
            of.setdefault(units[number], []).append(values)
        averaged = {unit: np.asarray(sum(each) / len(each), dtype=np.float64) for unit, each in of.items()}
        sums.setdefault((region, metric), {})[recipe] = averaged
    return sums


def every_prediction(
    plans: Sequence[CellPlan], ledger: Ledger, data: Data, controls: Sequence[Control] = ()
) -> Iterator[Predicted]:
    """Test predictions of all rows of a table: those of recipes by seed, and a control's under every seed number."""
    numbers = sorted({record.number for plan in plans for record in completed(plan)})
    yield from kept(plans, ledger)
    yield from _controlled(controls, data, numbers)


def kept(plans: Sequence[CellPlan], ledger: Ledger) -> Iterator[Predicted]:
    """The predictions of all evaluated trials that have them."""
    for plan in plans:
        for record in completed(plan):
            found = predicted(ledger, record)
            if found is not None:
                yield plan.row, record.number, *found


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
