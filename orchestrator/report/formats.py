"""Tables as Markdown and CSV."""

import csv
import io
import math
from collections.abc import Collection, Sequence
from typing import Final

from orchestrator.report.comparisons import Column, Comparison
from orchestrator.report.escape import csv_text, markdown_text
from orchestrator.report.tables import TITLES, Row, Table
from workloads.labels import REGIONS

NAMED: Final = 4
"""Recipes named in one sentence; more are counted."""
NOTHING: Final = "–"
SIGNS: Final = {"better": "▼", "worse": "▲", "equivalent": "≈", "undecided": ""}
"""Behind a difference of an error: certain and lower, certain and higher, certainly small. Read without colour."""


def named(names: Sequence[str]) -> str:
    """The first `NAMED` names, and how many more there are: `l1, l1 + lds and 3 more`."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def title(column: Column) -> str:
    """`MAE Few`."""
    metric, region = column
    return f"{TITLES.get(metric, metric)} {region.capitalize()}"


def cell(table: Table, row: Row, column: Column) -> tuple[str, str]:
    """Mean and deviation of a row in a column as text; a dash and nothing where there is no result."""
    score = row.scores.get(column)
    if score is None:
        return NOTHING, ""
    digits = table.decimals(column[0])
    return f"{score.mean:.{digits}f}", f"{score.sd:.{digits}f}" if score.sd is not None else ""


def change_parts(table: Table, comparison: Comparison) -> tuple[str, str]:
    """`-1.20` and `-2.00, -0.40`; of a ratio `×0.91` and `0.85, 0.97`; no ends where nothing tells the error."""
    interval = comparison.interval
    digits, sign = (2, "") if comparison.ratio else (table.decimals(comparison.column[0]), "+")
    value = f"×{math.exp(comparison.value):.2f}" if comparison.ratio else f"{comparison.value:+.{digits}f}"
    return value, "" if interval is None else f"{interval.low:{sign}.{digits}f}, {interval.high:{sign}.{digits}f}"


def change(table: Table, comparison: Comparison) -> str:
    """`-1.20 [-2.00, -0.40] ▼**`; the mean alone where nothing tells its error."""
    value, ends = change_parts(table, comparison)
    text = f"{value} [{ends}]" if ends else value
    sign = SIGNS[comparison.verdict] + comparison.stars
    return f"{text} {sign}" if sign else text


def grid(head: Sequence[str], lines: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """Lines of a Markdown table; the columns `left` hold words, the others numbers."""
    align = [":--" if column in left else "--:" for column in range(len(head))]
    return [_line(head), "|" + "|".join(align) + "|", *map(_line, lines)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def markdown(table: Table) -> str:
    """A Markdown table: mean ± sd, bold what cannot be told from the best; a recipe without results says why."""
    lines = []
    for row in table.rows:
        cells = [markdown_text(row.recipe), str(row.seeds)]
        for column in table.columns:
            mean, sd = cell(table, row, column)
            text = f"**{mean}**" if table.is_best(row.recipe, column) else mean
            cells.append(f"{text} ± {sd}" if sd else text)
        lines.append(cells)
    found = grid(["Recipe", "Seeds", *map(title, table.columns)], lines)
    missing = [f"\n`{markdown_text(row.recipe)}`: {markdown_text(row.missing)}" for row in table.rows if row.missing]
    return "\n".join([*found, *missing]) + "\n"


def changes_markdown(table: Table, metric: str) -> str:
    """A Markdown table of every recipe's change against its base, of one metric; what is marked is bold."""
    columns = [column for column in table.columns if column[0] == metric]
    lines = []
    for recipe in table.compared:
        cells = [markdown_text(recipe)]
        for column in columns:
            made = table.comparisons.get((recipe, column))
            text = NOTHING if made is None else change(table, made).replace("*", r"\*")
            cells.append(f"**{text}**" if made is not None and made.verdict in {"better", "worse"} else text)
        lines.append(cells)
    return "\n".join(grid(["Recipe", *(region.capitalize() for _, region in columns)], lines)) + "\n"


def to_csv(every: Sequence[Table]) -> str:
    """One line per recipe: `workload,recipe,seeds`, then `metric/region/mean` and `metric/region/sd`, unrounded.

    Units are those of the tables: accuracy and error in percent. Only what the ledger's records hold; `tidy.csv` has
    the rest.
    """
    every_column = dict.fromkeys(column for table in every for column in table.columns)
    columns = [column for column in every_column if column[1] in {"all", *REGIONS}]
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    head = [f"{metric}/{region}/{what}" for metric, region in columns for what in ("mean", "sd")]
    writer.writerow(["workload", "recipe", "seeds", *head])
    for table in every:
        for row in table.recipes:
            line: list[str | int | float | None] = [csv_text(row.workload), csv_text(row.recipe), row.seeds]
            for column in columns:
                score = row.scores.get(column)
                line += [None, None] if score is None else [score.mean, score.sd]
            writer.writerow(line)
    return sink.getvalue()
