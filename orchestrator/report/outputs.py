"""The outputs of a study: table.md, table.csv, table.tex and report.html, from the ledger alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import jinja2

from orchestrator.ledger.ledger import Ledger
from orchestrator.report.escape import line, markdown_text
from orchestrator.report.tables import (
    ERROR,
    NOTHING,
    PERCENT,
    TITLES,
    Difference,
    Table,
    cell,
    differences,
    differences_markdown,
    latex,
    markdown,
    tables,
    to_csv,
)
from orchestrator.study.cells import Cell, data_root, load_data
from orchestrator.study.planner import CellPlan, Planner
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.published import REGIONS, Published, published
from workloads.workload import Data


@dataclass(frozen=True)
class Section:
    """What the report says of one workload."""

    table: Table
    differences: list[Difference]
    notes: list[str]
    plans: list[CellPlan]
    data: Data

    @property
    def error(self) -> str:
        """The error that the differences are in, in the words of a heading."""
        metric = ERROR[WORKLOADS[self.table.workload].task]
        return f"{metric}, in percentage points," if metric in PERCENT else TITLES[metric]

    @property
    def base(self) -> str | None:
        """What all differences are to, as code; None where recipes build on several objectives."""
        bases = {difference.base for difference in self.differences}
        return f"`{bases.pop()}`" if len(bases) == 1 else None


def sections(study: Study, planner: Planner, ledger: Ledger) -> list[Section]:
    """One section per workload, in the study's order."""
    found = []
    for table in tables(planner.plans):
        plans = [plan for plan in planner.plans if plan.cell.workload == table.workload]
        data = load_data(WORKLOADS[table.workload], data_root(study), study.storage)
        found.append(Section(table, differences(plans, ledger, data), notes(study, planner, table, plans), plans, data))
    return found


def notes(study: Study, planner: Planner, table: Table, plans: Sequence[CellPlan]) -> list[str]:
    """What stands under a table: data, budget, selection rule, protocol, device."""
    workload = WORKLOADS[table.workload]
    records = [r for plan in plans for phase in ("tune", "evaluate") for r in plan.records(phase)]
    epochs = sorted({r.epochs for r in records})
    devices = sorted({r.device for r in records if r.device})
    used = [sum(r.epochs_run for r in plan.records("tune")) for plan in plans]
    tuned = f"{min(used)}" if min(used) == max(used) else f"{min(used)} to {max(used)}"
    per_region = ", ".join(f"{region} {n}" for region, n in table.counts.items() if n)
    return [
        f"{workload.title} ({workload.unit}); {workload.origin.source}. Test {_counted(table)}: {per_region}. "
        f"Regions: {workload.shots}.",
        f"Budget of every recipe: {planner.budget['tune']} tuning trials ({tuned} epochs used) of "
        f"{' or '.join(map(str, epochs)) or NOTHING} epochs, then {planner.budget['evaluate']} seeds of the selected "
        f"setting (tuned once). Sampler {study.tune.sampler}, early stopping {study.tune.scheduler}.",
        f"Selected by {study.tune.select_by}, the epoch within a trial as well; test was read in the evaluate phase "
        "only.",
        f"Mean ± sd over seeds, best mean of a column bold. Trained on {', '.join(devices) or NOTHING}.",
        *(f"{plan.cell.recipe}: {line}" for plan in plans for line in _warnings(plan)),
    ]


def _counted(table: Table) -> str:
    return "pixels" if WORKLOADS[table.workload].dense else "rows"


def _warnings(plan: CellPlan) -> list[str]:
    """What training warned of in the trials of a row: a method that changed nothing, for example."""
    lines = [line for r in plan.records("evaluate") if r.status == "completed" for line in (r.log or "").splitlines()]
    return list(dict.fromkeys(lines))


def text(section: Section) -> str:
    """A workload's part of table.md."""
    parts = [f"## {markdown_text(section.table.workload)}\n", markdown(section.table)]
    parts += ["\n".join(f"- {markdown_text(note)}" for note in section.notes) + "\n"]
    if section.differences:
        parts += [
            f"### Change of the test {section.error} against {section.base or 'the objective alone'}\n",
            differences_markdown(section.differences),
            "Negative is better. Mean difference [95 % interval]: paired bootstrap over seeds and test "
            f"{'images' if WORKLOADS[section.table.workload].dense else 'rows'}, "
            "not corrected for the number of comparisons; bold where the interval excludes zero.\n",
        ]
    rows = [row for row in published() if row.workload == section.table.workload]
    if rows:
        parts += ["### Published numbers\n", _published(rows), "Of other protocols and seeds: for orientation.\n"]
    return "\n".join(parts)


def _published(rows: Sequence[Published]) -> str:
    """What papers print for the workload, as a Markdown table."""
    columns = list(dict.fromkeys((metric, region) for row in rows for metric in row.results for region in REGIONS))
    columns = [column for column in columns if any(column[1] in row.results.get(column[0], {}) for row in rows)]
    head = [f"{TITLES.get(metric, metric)} {region.capitalize()}" for metric, region in columns]
    lines = [
        "| " + " | ".join(["Recipe", "There called", *head, "Source"]) + " |",
        "|" + "|".join([":--", ":--", *("--:" for _ in head), ":--"]) + "|",
    ]
    for row in rows:
        numbers = ((metric, row.results.get(metric, {}).get(region)) for metric, region in columns)
        shown = (NOTHING if n is None else f"{100 * n if metric in PERCENT else n:.6g}" for metric, n in numbers)
        cells = [str(row.recipe), row.label, *shown, row.source]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_outputs(study: Study, planner: Planner, ledger: Ledger) -> dict[str, str]:
    """Write the outputs into `<storage>/<study>/` and return them by file name."""
    found = sections(study, planner, ledger)
    files = {
        "table.md": f"# {study.study}\n\n" + "\n".join(text(section) for section in found),
        "table.csv": to_csv([section.table for section in found]),
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
            *([plots.forest(section.differences, section.table.workload)] if section.differences else []),
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
        titles=TITLES,
        cell=cell,
        nothing=NOTHING,
        versions=versions,
        settings={plan.cell.name: settings_of(plan) for plan in planner.plans},
        axes={plan.cell.name: ranges(plan.cell) for plan in planner.plans},
        command=f"tailsweep sweep {study.study}",
    )


def settings_of(plan: CellPlan) -> str:
    """The selected settings of a cell that were searched, in words."""
    if plan.selected is None:
        return NOTHING
    chosen = plan.suggested[plan.selected.number]
    words = (
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}" for name, value in chosen.items()
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
