"""A study's results as rows, and rows as Markdown, LaTeX and CSV."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Record
from orchestrator.report.escape import csv_text, markdown_text, tex_text
from orchestrator.report.stats import Interval, Spread, paired_difference, spread
from orchestrator.study.planner import CellPlan
from workloads import WORKLOADS
from workloads.labels import REGIONS, Floats
from workloads.metrics import HIGHER_IS_BETTER
from workloads.recipe import Recipe
from workloads.seeds import seed_of
from workloads.workload import Data, images_of

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
PERCENT: Final = frozenset({"accuracy", "error", "miou"})
"""Metrics that tables and figures show in percent; the ledger holds shares."""
ERROR: Final = {"regression": "mae", "classification": "error"}
"""The metric that differences and figures compare, by the workload's task."""
NOTHING: Final = "–"


@dataclass(frozen=True)
class Row:
    """One recipe on one workload: test scores over its seeds, and why some are missing."""

    workload: str
    recipe: str
    seeds: int
    scores: dict[tuple[str, str], Spread]
    missing: str


def label_decimals(workload: str) -> int:
    """Decimals of an error: hundredths of a bin, at least two; two of a percentage where labels are classes."""
    if WORKLOADS[workload].task == "classification":
        return 2
    return max(2, 2 - math.floor(math.log10(WORKLOADS[workload].grid.width)))


@dataclass(frozen=True)
class Table:
    """The rows of a workload, its columns (metric, region), and the test rows per region."""

    workload: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    counts: dict[str, int]

    def decimals(self, metric: str) -> int:
        """Decimals that say something: those of labels, two of a percentage, three of what lies between 0 and 1."""
        if metric in PERCENT:
            return 2
        return 3 if metric in HIGHER_IS_BETTER else label_decimals(self.workload)

    def best(self, column: tuple[str, str]) -> float | None:
        """The best mean of a column."""
        means = [row.scores[column].mean for row in self.rows if column in row.scores]
        if not means:
            return None
        return max(means) if column[0] in HIGHER_IS_BETTER else min(means)


def tables(plans: Sequence[CellPlan]) -> list[Table]:
    """One table per workload, rows in the study's order."""
    return [
        _table(workload, [plan for plan in plans if plan.cell.workload == workload])
        for workload in dict.fromkeys(plan.cell.workload for plan in plans)
    ]


def _completed(plan: CellPlan) -> list[Record]:
    return [record for record in plan.records("evaluate") if record.status == "completed"]


def _table(workload: str, plans: Sequence[CellPlan]) -> Table:
    counts: dict[str, int] = {}
    rows: list[Row] = []
    metrics = WORKLOADS[workload].metrics
    for plan in plans:
        records = _completed(plan)
        values: dict[tuple[str, str], list[float]] = {}
        for record in records:
            for score in record.test or ():
                counts[score.region] = score.count
                if score.value is not None and score.metric in metrics:
                    shown = 100 * score.value if score.metric in PERCENT else score.value
                    values.setdefault((score.metric, score.region), []).append(shown)
        scores = {column: spread(v) for column, v in values.items()}
        rows.append(Row(workload, str(plan.cell.recipe), len(records), scores, plan.missing()))
    kept = [region for region in ("all", *REGIONS) if region != "zero" or counts.get("zero")]
    return Table(workload, tuple((m, r) for m in metrics for r in kept), tuple(rows), counts)


def cell(table: Table, row: Row, column: tuple[str, str]) -> tuple[str, str]:
    """Mean and deviation of a row in a column as text; a dash and nothing where there is no result."""
    score = row.scores.get(column)
    if score is None:
        return NOTHING, ""
    digits = table.decimals(column[0])
    return f"{score.mean:.{digits}f}", f"{score.sd:.{digits}f}" if score.sd is not None else ""


def markdown(table: Table) -> str:
    """A Markdown table: mean ± sd, best mean of a column bold; a recipe without results says why."""
    head = [f"{TITLES.get(metric, metric)} {region.capitalize()}" for metric, region in table.columns]
    lines = [
        "| " + " | ".join(["Recipe", "Seeds", *head]) + " |",
        "|" + "|".join([":--", "--:", *("--:" for _ in head)]) + "|",
    ]
    for row in table.rows:
        cells = [markdown_text(row.recipe), str(row.seeds)]
        for column in table.columns:
            mean, sd = cell(table, row, column)
            bold = column in row.scores and row.scores[column].mean == table.best(column)
            text = f"**{mean}**" if bold else mean
            cells.append(f"{text} ± {sd}" if sd else text)
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"\n`{markdown_text(row.recipe)}`: {markdown_text(row.missing)}" for row in table.rows if row.missing]
    return "\n".join(lines) + "\n"


def latex(table: Table) -> str:
    """A LaTeX `tabular` (booktabs): mean ± sd, best mean of a column bold."""
    metrics = list(dict.fromkeys(metric for metric, _ in table.columns))
    width = len(table.columns) // len(metrics)
    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{tabular}{l" + "r" * len(table.columns) + "}",
        r"\toprule",
        " & " + " & ".join(rf"\multicolumn{{{width}}}{{c}}{{{tex_text(TITLES.get(m, m))}}}" for m in metrics) + r" \\",
        "Recipe & " + " & ".join(region.capitalize() for _, region in table.columns) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        cells = [tex_text(row.recipe)]
        for column in table.columns:
            mean, sd = cell(table, row, column)
            if mean == NOTHING:
                cells.append("--")
                continue
            bold = row.scores[column].mean == table.best(column)
            value = rf"\mathbf{{{mean}}}" if bold else mean
            cells.append(rf"${value} \pm {sd}$" if sd else f"${value}$")
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def to_csv(every: Sequence[Table]) -> str:
    """One line per recipe: `workload,recipe,seeds`, then `metric/region/mean` and `metric/region/sd`, unrounded.

    Units are those of the tables: accuracy and error in percent.
    """
    columns = list(dict.fromkeys(column for table in every for column in table.columns))
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    head = [f"{metric}/{region}/{what}" for metric, region in columns for what in ("mean", "sd")]
    writer.writerow(["workload", "recipe", "seeds", *head])
    for table in every:
        for row in table.rows:
            line: list[str | int | float | None] = [csv_text(row.workload), csv_text(row.recipe), row.seeds]
            for column in columns:
                score = row.scores.get(column)
                line += [None, None] if score is None else [score.mean, score.sd]
            writer.writerow(line)
    return sink.getvalue()


@dataclass(frozen=True)
class Difference:
    """A recipe's error (`ERROR` of the task) minus that of its base, by region; negative is better."""

    recipe: str
    base: str
    by_region: dict[str, Interval]
    decimals: int

    def text(self, region: str) -> str:
        """`-1.20 [-2.00, -0.40]`."""
        i, digits = self.by_region[region], self.decimals
        return f"{i.value:+.{digits}f} [{i.low:+.{digits}f}, {i.high:+.{digits}f}]"


def differences(plans: Sequence[CellPlan], ledger: Ledger, data: Data) -> list[Difference]:
    """Every recipe of a workload against its objective alone, on the seeds that both have.

    Empty where the objective alone is not part of the study.
    """
    by_recipe = {str(plan.cell.recipe): {r.number: r for r in _completed(plan)} for plan in plans}
    images = images_of(data.test)

    @cache
    def of_base(recipe: str, number: int) -> Floats:
        """Read once, however many recipes are compared with it."""
        return _errors(ledger, by_recipe[recipe][number], WORKLOADS[plans[0].cell.workload].task)

    found: list[Difference] = []
    for plan in plans:
        base = str(Recipe(plan.cell.recipe.objective))
        name = str(plan.cell.recipe)
        shared = sorted(by_recipe[name].keys() & by_recipe.get(base, {}).keys())
        if name == base or not shared:
            continue
        workload = WORKLOADS[plan.cell.workload]
        where = workload.regions(data, data.test)
        ours = np.stack([_errors(ledger, by_recipe[name][number], workload.task) for number in shared])
        theirs = np.stack([of_base(base, number) for number in shared])
        rng = np.random.default_rng(seed_of(plan.cell.name, "paired bootstrap"))
        by_region = {"all": paired_difference(ours, theirs, rng, images)}
        for position, region in enumerate(REGIONS):
            rows = where == position
            if rows.any():
                drawn = None if images is None else images[rows]
                by_region[region] = paired_difference(ours[:, rows], theirs[:, rows], rng, drawn)
        found.append(Difference(name, base, by_region, label_decimals(workload.name)))
    return found


def _errors(ledger: Ledger, record: Record, task: str) -> Floats:
    """Error of every test row: |ŷ − y|, or 100 where a class is missed, so that the mean is in percent."""
    table = ledger.predictions(record)
    y, pred = (table[name].to_numpy().astype(np.float64) for name in ("y", "pred"))
    return np.asarray(np.abs(pred - y) if task == "regression" else 100.0 * (pred != y))


def differences_markdown(found: Sequence[Difference]) -> str:
    """A Markdown table of differences; those whose interval excludes zero are bold."""
    shown = [region for region in ("all", *REGIONS) if any(region in d.by_region for d in found)]
    lines = [
        "| " + " | ".join(["Recipe", *(region.capitalize() for region in shown)]) + " |",
        "|" + "|".join([":--", *("--:" for _ in shown)]) + "|",
    ]
    for difference in found:
        cells = [markdown_text(difference.recipe)]
        for region in shown:
            i = difference.by_region.get(region)
            text = NOTHING if i is None else difference.text(region)
            cells.append(f"**{text}**" if i is not None and i.excludes_zero else text)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
