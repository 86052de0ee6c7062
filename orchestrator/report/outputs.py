"""The outputs of a study, from the ledger alone: tables, tidy data, the page, and figures as files."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from orchestrator.ledger.ledger import Ledger
from orchestrator.report.across import across_markdown
from orchestrator.report.contributions import contributions_markdown
from orchestrator.report.escape import markdown_text
from orchestrator.report.formats import NOTHING, changes_markdown, grid, markdown, title, to_csv
from orchestrator.report.latex import latex
from orchestrator.report.notes import change_heading
from orchestrator.report.replaced import replaced
from orchestrator.report.row_scores import PERCENT
from orchestrator.report.search.best import best_yaml
from orchestrator.report.sections import Results, Section, sections
from orchestrator.report.tidy import tidy, tidy_csv, tidy_json, tidy_parquet
from orchestrator.storage.store import Store
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from workloads.published import REGIONS, Published, protocol, published


def text(section: Section) -> str:
    """A workload's part of table.md."""
    table = section.table
    parts = [f"## {markdown_text(table.workload)}\n", *([f"**{section.partial}**\n"] if section.partial else [])]
    if section.verdict:
        parts += ["\n".join(section.verdict) + "\n"]
    parts += [markdown(table), "\n".join(f"- {markdown_text(note)}" for note in section.notes) + "\n"]
    for metric in section.changes:
        parts += [f"### {change_heading(metric)} against {section.against}\n", changes_markdown(table, metric)]
    if section.changes:
        parts += ["\n".join(f"- {line}" for line in section.explained) + "\n"]
    if said := contributions_markdown(section.contributions):
        parts += ["### What each component contributes\n", said]
    rows = [row for row in published() if row.workload == section.table.workload]
    if rows:
        parts += ["### Published numbers\n", _published(rows), f"{_made(section.table.workload)}\n"]
    return "\n".join(parts)


def _made(workload: str) -> str:
    """How the published numbers of a workload were made."""
    how = protocol(workload)
    return f"Of other protocols and seeds: for orientation.{f' Theirs: {markdown_text(how)}' if how else ''}"


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


def document(results: Results) -> str:
    """Everything that is no figure, as Markdown."""
    parts = [text(section) for section in results.sections]
    parts += [f"## Across workloads\n\n{across_markdown(results.across)}"]
    return f"# {results.study.study}\n\n" + "\n".join(parts)


def _html(results: Results) -> str:
    from orchestrator.report.page.assemble import page  # matplotlib is slow to import: most commands draw nothing

    return page(results).html


FORMATS: Final[dict[str, Callable[[Results], str | bytes]]] = {
    "md": document,
    "csv": lambda results: tidy_csv(tidy(results.tables)),
    "json": lambda results: tidy_json(tidy(results.tables)),
    "parquet": lambda results: tidy_parquet(tidy(results.tables)),
    "tex": lambda results: latex(results.tables, results.study.report.names),
    "html": _html,
}
"""What a report can be printed as: words and tables, tidy data, tables of an article, the page."""

FIGURES: Final = ("svg", "pdf", "png")
"""Formats of the figures beside the page."""


def outputs(results: Results) -> dict[str, str | bytes]:
    """Every file of a report, by its name; figures are below `figures/`."""
    from orchestrator.report.page.assemble import page

    made, data = page(results, FIGURES), tidy(results.tables)
    return {
        "table.md": document(results),
        "table.csv": to_csv(results.tables),
        "tidy.csv": tidy_csv(data),
        "tidy.json": tidy_json(data),
        "tidy.parquet": tidy_parquet(data),
        "table.tex": latex(results.tables, results.study.report.names),
        "best.yaml": best_yaml([plan for section in results.sections for plan in section.plans], results.rule),
        "report.html": made.html,
        **{f"figures/{name}": drawn for name, drawn in made.figures.items()},
    }


def write_outputs(
    study: Study, planner: Planner, ledger: Ledger, found: Sequence[Section] | None = None
) -> dict[str, str]:
    """Write the outputs into `<storage>/<study>/`, figures below that, and return the texts by file name."""
    found = sections(study, planner, ledger) if found is None else found
    files = outputs(Results(study, ledger, found))
    keep(files, study.study, ledger.store)
    return {name: content for name, content in files.items() if isinstance(content, str)}


def keep(files: Mapping[str, str | bytes], study: str, store: Store) -> None:
    """Write the files of a report into the folder of its study."""
    for name, content in files.items():
        store.put(f"{study}/{name}", encoded(content))
    drawn = {name: encoded(content) for name, content in files.items() if name.startswith("figures/")}
    replaced(store, study, drawn)


def encoded(content: str | bytes) -> bytes:
    """What a file of a report holds."""
    return content.encode() if isinstance(content, str) else content
