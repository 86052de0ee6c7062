"""Tables for an article, as LaTeX that fits a column of it: `\\input` the file once, then use its tables by name."""

from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator.report.comparisons import Column, Comparison
from orchestrator.report.controls import PREFIX
from orchestrator.report.escape import tex_text
from orchestrator.report.formats import NOTHING, cell, change_parts
from orchestrator.report.tables import TITLES, Row, Table

HEAD: Final = r"""% Tables by Tailsweep. \input{table.tex} once, then use them by name, in a table or a table*:
%   \begin{table} \centering \caption{...} \tailsweep{NAME} \end{table}
% Packages: booktabs, tabularx. A table is as wide as the line: the names of recipes take what the numbers leave.
"""
COMMAND: Final = r"""\providecommand{\tailsweep}[1]{\ifcsname tailsweep:#1\endcsname\csname tailsweep:#1\endcsname
  \else\errmessage{table.tex has no table named #1}\fi}
\providecommand{\tailsweepstack}[2]{\begin{tabular}[t]{@{}r@{}}#1\\[-1pt]#2\end{tabular}}
"""
SIGNS: Final = {"better": r"\downarrow", "worse": r"\uparrow", "equivalent": r"\approx", "undecided": ""}
TIMES: Final = r"{\times}"
SHORT: Final = {"natural": "Nat.", "medium": "Med."}
"""Heads of columns that are no wider than their numbers."""
SMALL_P: Final = 0.001
BESIDE: Final = 5
"""Columns of scores up to which the deviation stands beside the mean; of more, below it."""


def latex(tables: Sequence[Table], names: Mapping[str, str] | None = None) -> str:
    """All tables of a study; `names` has the names of recipes and controls in the article, where they differ.

    For every workload and metric: `WORKLOAD/METRIC` with mean and deviation, and `WORKLOAD/METRIC/changes` with
    intervals, for a `table*`; `WORKLOAD/primary` is the primary column with interval and p.
    """
    known, made = names or {}, {}
    for table in tables:
        for metric in dict.fromkeys(metric for metric, _ in table.columns):
            columns = [column for column in table.columns if column[0] == metric]
            made[f"{table.workload}/{metric}"] = _scores(table, columns, known)
            if any(column in columns for _, column in table.comparisons):
                made[f"{table.workload}/{metric}/changes"] = _changes(table, columns, known)
        if table.comparisons:
            made[f"{table.workload}/primary"] = _primary(table, known)
    listed = "".join(f"%   {name}\n" for name in made)
    defined = (rf"\expandafter\def\csname tailsweep:{name}\endcsname{{{body}}}" + "\n" for name, body in made.items())
    return f"{HEAD}% Names:\n{listed}{COMMAND}{''.join(defined)}"


def _environment(columns: int, head: Sequence[str], groups: Sequence[Sequence[str]]) -> str:
    """A tabularx as wide as the line, with a rule between groups of lines."""
    lines = [
        r"{\scriptsize\setlength{\tabcolsep}{2.5pt}%",
        rf"\begin{{tabularx}}{{\linewidth}}{{@{{}}>{{\raggedright\arraybackslash\hangindent=.5em}}X*{{{columns}}}{{r}}@{{}}}}",
        r"\toprule",
        *head,
        *(line for group in groups if group for line in (r"\midrule", *group)),
        r"\bottomrule",
        r"\end{tabularx}}",
    ]
    return "\n".join(lines)


def _name(recipe: str, names: Mapping[str, str]) -> str:
    """A recipe as it is called in the article; its own name may be broken behind every +."""
    plain = recipe.removeprefix(PREFIX)
    alias = names.get(recipe)
    return tex_text(alias) if alias is not None else tex_text(plain).replace(" + ", r"+\allowbreak ")


def _groups(table: Table, line: Mapping[str, str]) -> list[list[str]]:
    """Lines of recipes, then those of controls."""
    return [
        [line[row.recipe] for row in table.rows if bool(row.uses) == is_control and row.recipe in line]
        for is_control in (False, True)
    ]


def _heads(columns: Sequence[Column]) -> str:
    return " & ".join(SHORT.get(region, region.capitalize()) for _, region in columns)


def _spanned(metric: str, columns: int) -> str:
    title = tex_text(TITLES.get(metric, metric))
    return rf" & \multicolumn{{{columns}}}{{c}}{{{title}}} \\ \cmidrule(l){{2-{columns + 1}}}"


def _score(table: Table, row: Row, column: Column, stacked: bool = False) -> str:
    """Mean and deviation; where there is none, its place is left free, so that means stand below one another."""
    mean, sd = cell(table, row, column)
    if mean == NOTHING:
        return "--"
    value = rf"\mathbf{{{mean}}}" if table.is_best(row.recipe, column) else mean
    if stacked:
        return rf"\tailsweepstack{{${value}$}}{{$\scriptscriptstyle {sd}$}}" if sd else f"${value}$"
    if sd:
        return f"${value}_{{{sd}}}$"
    widest = max((cell(table, other, column)[1] for other in table.rows), key=len)
    return rf"${value}_{{\phantom{{{widest}}}}}$" if widest else f"${value}$"


def _scores(table: Table, columns: Sequence[Column], names: Mapping[str, str]) -> str:
    """Mean, with the deviation over seeds below the line; bold what cannot be told from the best."""
    stacked = len(columns) > BESIDE
    lines = {
        row.recipe: " & ".join([_name(row.recipe, names), *(_score(table, row, c, stacked) for c in columns)]) + r" \\"
        for row in table.rows
    }
    head = [_spanned(columns[0][0], len(columns)), rf"Recipe & {_heads(columns)} \\"]
    return _environment(len(columns), head, _groups(table, lines))


def _change(table: Table, made: Comparison | None, stacked: bool = False) -> str:
    """`-1.20 [-2.00, -0.40] ↓**`; stacked, the interval is below the rest."""
    if made is None:
        return "--"
    value, ends = change_parts(table, made)
    marks = SIGNS[made.verdict] + (rf"^{{{made.stars}}}" if made.stars else "")
    number, after = f"${value.replace('×', TIMES)}$", f"\\,${marks}$" if marks else ""
    if not ends:
        return number
    return rf"\tailsweepstack{{{number}{after}}}{{$[{ends}]$}}" if stacked else f"{number} $[{ends}]${after}"


def _changes(table: Table, columns: Sequence[Column], names: Mapping[str, str]) -> str:
    """Changes against the base with 95 % intervals in every region."""
    lines = {
        recipe: " & ".join(
            [_name(recipe, names), *(_change(table, table.comparisons.get((recipe, c)), True) for c in columns)]
        )
        + r" \\[2pt]"
        for recipe in table.compared
    }
    head = [_spanned(columns[0][0], len(columns)), rf"Recipe & {_heads(columns)} \\"]
    return _environment(len(columns), head, _groups(table, lines))


def _primary(table: Table, names: Mapping[str, str]) -> str:
    """The primary column: score, change with its interval, p adjusted for the recipes of the column."""
    metric, region = table.primary
    lines = {}
    for row in table.rows:
        made = table.comparisons.get((row.recipe, table.primary))
        tested = made is not None and made.estimate is not None
        p = (
            ""
            if made is None or not tested
            else rf"$<{SMALL_P}$"
            if made.p_column < SMALL_P
            else f"{made.p_column:.3f}"
        )
        change = "" if made is None else _change(table, made)
        cells = [_name(row.recipe, names), _score(table, row, table.primary), change, p]
        lines[row.recipe] = " & ".join(cells) + r" \\"
    title = f"{tex_text(TITLES.get(metric, metric))} {SHORT.get(region, region.capitalize())}"
    head = [rf"Recipe & {title} & Change [95\,\%] & $p$ \\"]
    return _environment(3, head, _groups(table, lines))
