"""The outputs of a study: table.md, table.csv, tidy.csv, table.tex and report.html, from the ledger alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

import jinja2
import numpy as np
import torch

from orchestrator.ledger.ledger import Ledger
from orchestrator.report.budgets import budget, costs, luck
from orchestrator.report.contributions import Contributions, contributions, contributions_markdown, value_of
from orchestrator.report.controls import controls
from orchestrator.report.escape import line, markdown_text
from orchestrator.report.formats import (
    NOTHING,
    SIGNS,
    cell,
    change,
    changes_markdown,
    grid,
    latex,
    markdown,
    tidy_csv,
    title,
    to_csv,
)
from orchestrator.report.row_scores import PERCENT
from orchestrator.report.scores import NATURAL, completed, predicted, scores, units_by_number
from orchestrator.report.tables import TITLES, Table, judged, primary_column, tables, with_controls
from orchestrator.report.verdict import verdict
from orchestrator.study.cells import Cell, data_root, load_data
from orchestrator.study.planner import CellPlan, Planner
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.labels import Floats
from workloads.published import REGIONS, Published, published
from workloads.recipe import Recipe
from workloads.workload import Data, Workload, groups_of

FEW_ROWS: Final = 30
"""Test rows below which a region says little."""


@dataclass(frozen=True)
class Section:
    """What the report says of one workload."""

    table: Table
    contributions: Contributions
    notes: list[str]
    plans: list[CellPlan]
    data: Data
    costs: str = ""
    """What training took; not in table.md, which is the same however often a study was interrupted."""

    @property
    def verdict(self) -> list[str]:
        """What the table says, in sentences."""
        return verdict(self.table)

    @property
    def changes(self) -> list[str]:
        """Metrics that recipes are compared in."""
        compared = {metric for _, (metric, _) in self.table.comparisons}
        return [metric for metric in WORKLOADS[self.table.workload].metrics if metric in compared]

    @property
    def against(self) -> str:
        """What all differences are to; the objective alone where recipes build on several."""
        return f"`{self.table.bases[0]}`" if len(self.table.bases) == 1 else "the objective alone"


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
        table = judged(with_controls(plain, simple, data, units_by_number(plans)), known, primary, study.report.margin)
        said = notes(study, planner, table, plans, data)
        found.append(Section(table, contributions(table, known), said, plans, data, costs(plans)))
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


def notes(study: Study, planner: Planner, table: Table, plans: Sequence[CellPlan], data: Data) -> list[str]:
    """What stands under a table: data, budget, selection rule, protocol, marks, device, and what to be careful with."""
    workload = WORKLOADS[table.workload]
    records = [r for plan in plans for phase in ("tune", "evaluate") for r in plan.records(phase)]
    devices = sorted({r.device for r in records if r.device})
    per_region = ", ".join(f"{region} {n}" for region, n in table.counts.items() if n)
    return [
        f"{workload.title}{f' ({workload.unit})' if workload.unit else ''}; {workload.origin.source}. Test "
        f"{_counted(table)}: {per_region}. Regions: {workload.shots}.",
        *_test_set(table, workload, data),
        budget(study, planner, plans),
        f"Selected by {study.tune.select_by}, the epoch within a trial as well; test was read in the evaluate phase "
        f"only. {luck(study)}",
        f"Mean ± sd over {_units(study)}. Bold: what cannot be told from the best of its column (Holm, 5 %); nothing "
        f"is bold with one of them, or where a metric is no mean over rows. Trained on "
        f"{', '.join(devices) or NOTHING}.",
        *_of_controls(table),
        *dict.fromkeys(f"{plan.cell.recipe}: {warning}" for plan in plans for warning in _warnings(plan)),
    ]


def _units(study: Study) -> str:
    """Over what means are taken."""
    many = study.tune.replicates > 1
    return f"replicates, each the mean of {study.evaluate.seeds} seeds" if many else "seeds"


def _of_controls(table: Table) -> list[str]:
    """What the controls are."""
    if table.control is None:
        return []
    return [
        "Controls need no training budget; without seeds of their own they have no deviation. 'on validation': fitted "
        "to labels of validation rows, which recipes use for selection only. 'out of fold': fitted to training rows "
        "that the model has not seen, weighted as held-out labels are distributed."
    ]


def _counted(table: Table) -> str:
    return "pixels" if WORKLOADS[table.workload].dense else "rows"


def _test_set(table: Table, workload: Workload, data: Data) -> list[str]:
    """What the test set is, and where it cannot say much."""
    lines = []
    if any(region == NATURAL for _, region in table.columns):
        lines.append(
            "The test set is not distributed as the data: All weighs its rows alike, Natural weighs each bin as it "
            "occurs among all labelled rows."
        )
    thin = [f"{region} {n}" for region, n in table.counts.items() if 0 < n < FEW_ROWS]
    if thin:
        lines.append(f"Fewer than {FEW_ROWS} test {_counted(table)}: {', '.join(thin)}: read these columns with care.")
    if workload.task == "regression" and not workload.dense:
        low, high = (float(f(data.test.y)) for f in (torch.min, torch.max))
        trained = float(data.train.y.min()), float(data.train.y.max())
        width = workload.grid.width
        if trained[0] < low - width or high + width < trained[1]:
            lines.append(
                f"Test labels lie in {low:g} … {high:g}, training labels in {trained[0]:g} … {trained[1]:g}: the rest "
                "is not tested."
            )
    return lines


def _warnings(plan: CellPlan) -> list[str]:
    """What training warned of in the trials of a row: a method that changed nothing, for example."""
    lines = [line for r in plan.records("evaluate") if r.status == "completed" for line in (r.log or "").splitlines()]
    return list(dict.fromkeys(lines))


def text(section: Section) -> str:
    """A workload's part of table.md."""
    table = section.table
    parts = [f"## {markdown_text(table.workload)}\n"]
    if section.verdict:
        parts += ["\n".join(section.verdict) + "\n"]
    parts += [markdown(table), "\n".join(f"- {markdown_text(note)}" for note in section.notes) + "\n"]
    for metric in section.changes:
        parts += [f"### {_change_heading(metric)} against {section.against}\n", changes_markdown(table, metric)]
    if section.changes:
        parts += ["\n".join(f"- {line}" for line in explained(section)) + "\n"]
    if said := contributions_markdown(section.contributions):
        parts += ["### What each component contributes\n", said]
    rows = [row for row in published() if row.workload == section.table.workload]
    if rows:
        parts += ["### Published numbers\n", _published(rows), "Of other protocols and seeds: for orientation.\n"]
    return "\n".join(parts)


def _change_heading(metric: str) -> str:
    name = f"{TITLES.get(metric, metric).removesuffix(' %')}" + (", in percentage points," if metric in PERCENT else "")
    return f"Change of the test {name}"


def explained(section: Section) -> list[str]:
    """How to read the tables of changes."""
    table = section.table
    tested = [made for made in table.comparisons.values() if made.estimate is not None]
    repeated = any(plan.cell.replicate for plan in section.plans)
    seeds = "replicates" if repeated else "seeds"
    tuning = "Tuning is in the interval" if repeated else "Tuning is not in the interval"
    units = "images" if WORKLOADS[table.workload].dense else "groups" if groups_of(section.data) is not None else "rows"
    return [
        f"Mean difference [95 % interval] over paired {seeds} and test {units} (Behrens-Fisher: {seeds} by t, {units} "
        f"by the normal distribution); of GM the ratio. {tuning}.",
        f"Marks: `*` holds among the {sum(made.primary for made in tested)} comparisons of {title(table.primary)}, "
        f"`**` among all {len(tested)} of the table (Holm, 5 %). {SIGNS['better']} better, {SIGNS['worse']} worse, "
        f"{SIGNS['equivalent']} equivalent: the 90 % interval lies within {100 * table.margin:.3g} % of the base's "
        "score; no sign: undecided.",
    ]


def _published(rows: Sequence[Published]) -> str:
    """What papers print for the workload, as a Markdown table."""
    columns = list(dict.fromkeys((metric, region) for row in rows for metric in row.results for region in REGIONS))
    columns = [column for column in columns if any(column[1] in row.results.get(column[0], {}) for row in rows)]
    head = ["Recipe", "There called", *map(title, columns), "Source"]
    lines = []
    for row in rows:
        numbers = ((metric, row.results.get(metric, {}).get(region)) for metric, region in columns)
        shown = (NOTHING if n is None else f"{100 * n if metric in PERCENT else n:.6g}" for metric, n in numbers)
        lines.append([str(row.recipe), row.label, *shown, row.source])
    return "\n".join(grid(head, lines, {0, 1, len(head) - 1})) + "\n"


def write_outputs(
    study: Study, planner: Planner, ledger: Ledger, found: Sequence[Section] | None = None
) -> dict[str, str]:
    """Write the outputs into `<storage>/<study>/` and return them by file name."""
    found = sections(study, planner, ledger) if found is None else found
    files = {
        "table.md": f"# {study.study}\n\n" + "\n".join(text(section) for section in found),
        "table.csv": to_csv([section.table for section in found]),
        "tidy.csv": tidy_csv([section.table for section in found]),
        "table.tex": "\n".join(latex(section.table) for section in found),
        "report.html": page(study, planner, found),
    }
    for name, content in files.items():
        ledger.store.put(f"{study.study}/{name}", content.encode())
    return files


def page(study: Study, planner: Planner, found: Sequence[Section]) -> str:
    """The report as one HTML page that needs nothing else."""
    from orchestrator.report import plots  # matplotlib is slow to import, and most commands draw nothing

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["line"] = line
    template = environment.from_string((resources.files("orchestrator.report") / "page.html.j2").read_text("utf-8"))
    figures = {
        section.table.workload: [
            plots.label_histogram(section.table.workload, section.data),
            *([plots.trade_off(section.table)] if any(row.scores for row in section.table.rows) else []),
            *([plots.forest(section.table)] if section.changes else []),
        ]
        for section in found
    }
    versions = {
        name: value
        for section in found
        for plan in section.plans
        for record in plan.records("evaluate")
        for name, value in record.versions.items()
    }
    return template.render(
        study=study,
        sections=found,
        figures=figures,
        title=title,
        heading=_change_heading,
        explained=explained,
        value_of=value_of,
        change=change,
        cell=cell,
        nothing=NOTHING,
        versions=versions,
        settings={plan.cell.name: settings_of(plan) for plan in planner.plans},
        axes={plan.cell.name: ranges(plan.cell) for plan in planner.plans},
        command=f"tailsweep sweep {study.study}",
    )


def settings_of(plan: CellPlan) -> str:
    """The selected settings of a cell that were searched, in words."""
    if plan.settings is None:
        return NOTHING
    words = (
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in plan.settings.items()
    )
    return ", ".join(words) or "nothing to search"


def ranges(cell: Cell) -> list[tuple[str, str, str, str]]:
    """Searched hyperparameters of a cell: name, range, first value, condition."""
    return [
        (
            axis.name,
            str(axis.range),
            str(axis.first),
            " and ".join(f"{name} = {' or '.join(map(str, allowed))}" for name, allowed in axis.only.items()),
        )
        for axis in cell.axes
    ]
