"""Scores of every test row of a workload, from kept predictions, as comparisons need them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from orchestrator.errors import StorageFailed
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Record
from orchestrator.ledger.telling import tell
from orchestrator.report.comparisons import Scores, Sums, View
from orchestrator.report.controls import Control
from orchestrator.report.intervals import Units, units_of
from orchestrator.report.row_scores import row_scores
from orchestrator.study.cell_plan import CellPlan
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


Measure: TypeAlias = Callable[[Floats, Floats], Floats]
"""Of predictions and labels of the test rows `[N]`: what is averaged over rows, `[N]`."""


@dataclass(frozen=True)
class Region:
    """Test rows with the units that they count as, their weights where they have some, and what is measured there."""

    units: Units
    owner: Ints
    rows: Ints
    weights: Floats | None
    metrics: tuple[str, ...]

    @classmethod
    def of(
        cls, workload: Workload, data: Data, rows: Ints, metrics: Iterable[str], weights: Floats | None = None
    ) -> "Region":
        """These rows of the test set: groups are units where it has some, and shot regions strata."""
        where, groups = workload.regions(data, data.test)[rows], groups_of(data)
        each = None if weights is None else weights[rows]
        return cls(*units_of(where, None if groups is None else groups[rows], each), rows, each, tuple(metrics))


@dataclass(frozen=True)
class Wanted:
    """What predictions are scored by: measures by metric, and regions by name."""

    measures: Mapping[str, Measure]
    regions: Mapping[str, Region]


def row_means(workload: Workload, data: Data) -> dict[str, Measure]:
    """The metrics of a workload that are means over rows, and are defined on its test labels."""
    metrics = [m for m in workload.metrics if m in PER_ROW and undefined(m, data.test.y.numpy()) is None]

    def measure(metric: str) -> Measure:
        return lambda pred, y: row_scores(metric, pred, y, workload.grid.unit)

    return {metric: measure(metric) for metric in metrics}


def of_table(workload: Workload, data: Data) -> Wanted:
    """What tables show of a workload, with the metrics and regions that it has."""
    measures = row_means(workload, data)
    views = _views(workload, data)
    return Wanted(measures, {name: Region.of(workload, data, rows, measures, each) for name, rows, each in views})


def scored(predictions: Iterable[Predicted], wanted: Sequence[Wanted], units: Mapping[int, int]) -> list[Scores]:
    """Scores by region, metric, recipe and unit, each prediction read once for all that is wanted.

    `units` has what a seed number counts as: where tuning is repeated, seeds are averaged within their replicate, and
    replicates take the place of seeds.
    """
    found: list[dict[tuple[str, str, str], dict[int, list[Floats]]]] = [{} for _ in wanted]
    for recipe, number, y, pred in predictions:
        for each, sums in zip(wanted, found, strict=True):
            of_rows = {metric: measure(pred, y) for metric, measure in each.measures.items()}
            for name, region in each.regions.items():
                for metric in region.metrics:
                    values = of_rows[metric][region.rows]
                    values = values if region.weights is None else values * region.weights
                    if region.units.group is not None:
                        values = np.bincount(region.owner, weights=values).astype(np.float64)
                    sums.setdefault((name, metric, recipe), {}).setdefault(units[number], []).append(values)
    made: list[Scores] = []
    for each, sums in zip(wanted, found, strict=True):
        shown: dict[str, dict[str, dict[str, Sums]]]
        shown = {name: {metric: {} for metric in region.metrics} for name, region in each.regions.items()}
        for (name, metric, recipe), seeds in sums.items():
            shown[name][metric][recipe] = {
                unit: np.asarray(sum(values) / len(values), dtype=np.float64) for unit, values in seeds.items()
            }
        made.append({name: View(region.units, shown[name]) for name, region in each.regions.items()})
    return made


def scores(plans: Sequence[CellPlan], ledger: Ledger, data: Data, controls: Sequence[Control] = ()) -> Scores:
    """Scores of all evaluated trials of one workload's cells, by region, metric, recipe and seed number."""
    wanted = [of_table(WORKLOADS[plans[0].cell.workload], data)]
    return scored(every_prediction(plans, ledger, data, controls), wanted, units_by_number(plans))[0]


def every_prediction(
    plans: Sequence[CellPlan], ledger: Ledger, data: Data, controls: Sequence[Control] = ()
) -> Iterator[Predicted]:
    """Test predictions of all rows of a table: those of recipes by seed, and a control's under every seed number.

    A control without seeds of its own has the same ones under every number: its error is that of test rows. A trial
    whose predictions are missing is told, and left out.
    """
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


def unread(plans: Sequence[CellPlan], read: Collection[tuple[str, int]]) -> dict[str, str]:
    """Of rows whose predictions are missing for some seeds, how many: `2 of 5`; `read` are those that are there."""
    ended: dict[str, list[bool]] = {}
    for plan in plans:
        ended.setdefault(plan.row, []).extend((plan.row, record.number) not in read for record in completed(plan))
    return {row: f"{sum(lacks)} of {len(lacks)}" for row, lacks in ended.items() if any(lacks)}


def means(view: View, metric: str) -> Mapping[str, list[float]]:
    """Every recipe's score by seed, in the order of seed numbers; of the geometric mean, as in tables."""
    total = float(view.units.rows.sum())
    made = {
        recipe: [float(seeds[number].sum()) / total for number in sorted(seeds)]
        for recipe, seeds in view.sums[metric].items()
    }
    return {r: list(np.exp(v)) if metric in LOGARITHMIC else v for r, v in made.items()}
