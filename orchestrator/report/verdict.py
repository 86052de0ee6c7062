"""What a table says, in sentences that its numbers entail."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from orchestrator.report.controls import PREFIX
from orchestrator.report.formats import cell, change, named, title
from orchestrator.report.recalibrated import ON_VALIDATION, reached, recalibrated, told_apart
from orchestrator.report.scores import NATURAL
from orchestrator.report.tables import Row, Table
from workloads.metrics import HIGHER_IS_BETTER

VERDICTS: Final = ("better", "worse", "equivalent", "undecided")


def verdict(table: Table, reweighting: Sequence[str] = ()) -> list[str]:
    """Which recipe leads in the primary column and what it cannot be told from; what is reached without the methods.

    Then what re-weighting alone explains, as told by `reweighting`; how many recipes beat their base; at what cost.
    Empty where the primary column has no results.
    """
    column, leader, control = table.primary, table.leader, table.control
    if leader is None:
        return []
    head = f"Best recipe in {title(column)}: `{leader.recipe}` with {cell(table, leader, column)[0]}"
    if not table.best.get(column):
        why = "one seed, one test row in this region, or a metric that is no mean over rows"
        return [f"{head}. Nothing is marked: {why} says nothing of the error."]
    alike = [f"`{r.recipe}`" for r in table.recipes if table.is_best(r.recipe, column) and r is not leader]
    said = [f"{head}; as good as the best, too: {named(alike)}." if alike else f"{head}."]
    if control is not None and control.recipe != f"{PREFIX}{table.base}, {ON_VALIDATION}":
        said.append(_of_control(table, leader, control))
    return [*said, *recalibrated(table), *reweighting, *_against_base(table), *_cost(table, leader)]


def _of_control(table: Table, leader: Row, control: Row) -> str:
    """What needs no training budget reaches, beside the best recipe."""
    name = control.recipe.removeprefix(PREFIX)
    word = f"{told_apart(table, control) or 'not told apart from'} that recipe"
    if word == "better than that recipe" and not any(table.is_best(row.recipe, table.primary) for row in table.recipes):
        word = "better than every recipe"
    return f"Without the methods, {name} (fitted to {control.uses}) reaches {reached(table, control)}: {word}."


def _against_base(table: Table) -> list[str]:
    """How many recipes differ from their base."""
    found = [table.comparisons.get((row.recipe, table.primary)) for row in table.recipes]
    compared = [made for made in found if made is not None]
    if not compared:
        return []
    base = " and ".join(f"`{name}`" for name in dict.fromkeys(made.base for made in compared))
    counts = {word: sum(made.verdict == word for made in compared) for word in VERDICTS}
    shown = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return [f"Of {len(compared)} recipes, against {base}: {shown}."]


def _cost(table: Table, leader: Row) -> list[str]:
    """What the leader does on labels as frequent as they are: one comparison, so its own interval decides."""
    made = table.comparisons.get((leader.recipe, (table.primary[0], NATURAL)))
    if made is None or made.estimate is None:
        return []
    certain = made.estimate.interval().excludes_zero
    better = (made.value > 0) == (made.column[0] in HIGHER_IS_BETTER)
    word = ("better than" if better else "worse than") if certain else "not told apart from"
    return [
        f"On labels as frequent as in the data, `{leader.recipe}` is {word} its base: "
        f"{cell(table, leader, made.column)[0]}, {change(table, replace(made, margin=0.0, p_table=1.0))} against "
        f"`{made.base}`."
    ]
