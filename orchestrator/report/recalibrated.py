"""What recalibration alone reaches beside the best recipe, with the labels it uses and without them.

A line that is fitted to validation labels has seen labels that are drawn as those of test are, which recipes use for
selection only. The fair variant is fitted out of fold to training rows. Where the two say different things of the best
recipe, that is told.
"""

from typing import Final

from orchestrator.report.comparisons import ALPHA, Column
from orchestrator.report.controls import MODELS, PREFIX
from orchestrator.report.formats import cell
from orchestrator.report.tables import Row, Table
from workloads.metrics import HIGHER_IS_BETTER

ON_VALIDATION: Final = "affine on validation"
OUT_OF_FOLD: Final = "affine out of fold"
FAIR: Final = "affine_oof"


def reached(table: Table, row: Row) -> str:
    """`24.32 in Few and 15.96 in All`: a row's scores in the primary column, and over all rows."""
    columns: dict[Column, None] = dict.fromkeys((table.primary, (table.primary[0], "all")))
    return " and ".join(f"{cell(table, row, c)[0]} in {c[1].capitalize()}" for c in columns)


def told_apart(table: Table, row: Row) -> str | None:
    """How a row compares with the best recipe in the primary column; None where nothing tells the error.

    Corrected for all rows that are compared with it.
    """
    made = table.against_leader.get(row.recipe)
    if made is None or made.estimate is None:
        return None
    if made.p_column > ALPHA:
        return "not told apart from"
    return "better than" if (made.value > 0) == (made.column[0] in HIGHER_IS_BETTER) else "worse than"


def recalibrated(table: Table) -> list[str]:
    """What the base reaches by two numbers, whether that changes in the fair variant, and of which other models."""
    rows = {row.recipe: row for row in table.rows}
    leader, base = table.leader, table.base
    if leader is None or base is None:
        return []
    plain, fair = rows.get(f"{PREFIX}{base}, {ON_VALIDATION}"), rows.get(f"{base} + {FAIR}")
    if plain is None or (word := told_apart(table, plain)) is None:
        return []
    line = f"`{base}` with a line fitted on validation reaches {reached(table, plain)}: {word} `{leader.recipe}`"
    return [f"{line}; {_fair(table, base, fair, word)}", *_others(table, rows)]


def _fair(table: Table, base: str, fair: Row | None, word: str) -> str:
    """The fair variant of the base, which is a recipe that a study may have trained."""
    if fair is None or table.primary not in fair.scores:
        return f"its fair variant, which uses no held-out label, is the recipe `{base} + {FAIR}`, without results here."
    if fair is table.leader:
        return "the fair variant, which uses no held-out label, is that recipe."
    told = told_apart(table, fair)
    if told is None:
        return f"with the fair variant, `{fair.recipe}`, {reached(table, fair)}."
    change = "so the verdict is the same" if told == word else "so the verdict changes"
    return f"with the fair variant, `{fair.recipe}`, {reached(table, fair)}: {told} it, {change}."


def _others(table: Table, rows: dict[str, Row]) -> list[str]:
    """The other models that have both variants among the controls."""
    same, changed = [], []
    for model in MODELS:
        pair = [rows.get(f"{PREFIX}{model}, {variant}") for variant in (ON_VALIDATION, OUT_OF_FOLD)]
        words = [told_apart(table, row) for row in pair if row is not None]
        if len(words) == 2 and words[0] == words[1] and words[0] is not None:
            same.append(f"{model} ({words[0]} it)")
        elif len(words) == 2 and None not in words:
            changed.append(f"{model} (on validation {words[0]} it, out of fold {words[1]} it)")
    said = [f"The fair variant does not change it for {' and '.join(same)}."] if same else []
    return said + ([f"The fair variant changes it for {' and '.join(changed)}."] if changed else [])
