"""What a gain where labels are rare costs elsewhere."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from orchestrator.report.comparisons import Column
from orchestrator.report.controls import PREFIX
from orchestrator.report.escape import figure_text
from orchestrator.report.figures.drawing import BLUE, INK, VERMILION, WIDTH, Drawing, lines, sheet
from orchestrator.report.formats import cell
from orchestrator.report.row_scores import PERCENT
from orchestrator.report.scores import NATURAL
from orchestrator.report.tables import ERROR, TITLES, Row, Table
from workloads import WORKLOADS
from workloads.metrics import HIGHER_IS_BETTER

HEAP: Final = 25.0
"""Pixels, of a hundred to the inch, within which points have one label."""
ROOM: Final = 0.35
"""Share of the recipes' range, on each side, within which controls are drawn."""


def error_title(workload: str) -> str:
    """The error that the figures of a workload show, with its unit."""
    metric, unit = ERROR[WORKLOADS[workload].task], WORKLOADS[workload].unit
    return f"{TITLES[metric]} ({figure_text(unit)})" if unit and metric not in PERCENT else TITLES[metric]


def columns_of(table: Table) -> tuple[Column, Column] | None:
    """What is traded: the primary column against Natural, or All; None where they are the same."""
    metric, region = table.primary
    other = (metric, NATURAL if (metric, NATURAL) in table.columns else "all")
    return None if other == (metric, region) else (other, (metric, region))


def front(table: Table, rows: Sequence[Row], columns: tuple[Column, Column]) -> list[Row]:
    """Recipes than which none is as good in both columns and better in one, from left to right."""
    sign = -1.0 if columns[0][0] in HIGHER_IS_BETTER else 1.0
    places = {row.recipe: tuple(sign * row.scores[column].mean for column in columns) for row in rows}
    kept = [
        row
        for row in rows
        if not any(
            all(a <= b for a, b in zip(places[other.recipe], places[row.recipe], strict=True))
            and places[other.recipe] != places[row.recipe]
            for other in rows
        )
    ]
    return sorted(kept, key=lambda row: row.scores[columns[0]].mean)


def trade_off(table: Table) -> Drawing | None:
    """Every recipe as a point; the front, the base and the controls are numbered, the rest have names to hover over.

    Controls that are far from all recipes would leave no room for these: they are named in words.
    """
    columns = columns_of(table)
    if columns is None:
        return None
    recipes = [row for row in table.recipes if set(columns) <= row.scores.keys()]
    if not recipes:
        return None
    controls = [row for row in table.rows if row.uses and set(columns) <= row.scores.keys()]
    limits = [_limits([row.scores[column].mean for row in recipes]) for column in columns]
    inside = [
        row
        for row in controls
        if all(low <= row.scores[column].mean <= high for column, (low, high) in zip(columns, limits, strict=True))
    ]
    best = front(table, recipes, columns)
    bases = [row for row in recipes if row.recipe in table.bases]
    ahead = [row for row in best if row not in bases]
    plain = [row for row in recipes if row not in best and row not in bases]
    kinds = ((plain, INK, "o", 0.45), (ahead, BLUE, "o", 1.0), (bases, INK, "D", 1.0), (inside, VERMILION, "^", 1.0))
    figure, axes = sheet(WIDTH, 4.4 + 0.18 * (len(ahead) + len(bases) + len(inside)))
    axes.plot(*([row.scores[column].mean for row in best] for column in columns), color=BLUE, linewidth=1, zorder=2)
    hover: dict[str, str] = {}
    numbered: list[tuple[float, float]] = []
    for rows, colour, marker, alpha in kinds:
        for row in sorted(rows, key=lambda row: row.scores[columns[0]].mean):
            x, y = (row.scores[column].mean for column in columns)
            gid, label = f"point-{len(hover)}", "_"
            hover[gid] = f"{row.recipe}: " + " and ".join(
                f"{cell(table, row, c)[0]} in {c[1].capitalize()}" for c in columns
            )
            if rows is not plain:
                numbered.append((x, y))
                label = f"{len(numbered)}  {'base: ' if rows is bases else ''}{figure_text(row.recipe)}"
            axes.plot(x, y, marker, color=colour, alpha=alpha, markersize=5, label=label, gid=gid, zorder=3)
    axes.autoscale_view()  # the limits, which the transformation needs
    for anchor, numbers in heaps(axes.transData.transform(numbered)):
        axes.annotate(numbers, numbered[anchor], xytext=(4, 3), textcoords="offset points", fontsize=9)
    titles = [f"test {TITLES.get(c[0], c[0])} in {c[1].capitalize()}" for c in columns]
    axes.set_xlabel(titles[0])
    axes.set_ylabel(titles[1])
    lines(axes)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize=9, frameon=False)
    away = [row.recipe.removeprefix(PREFIX) for row in controls if row not in inside]
    better = "Higher right" if columns[0][0] in HIGHER_IS_BETTER else "Lower left"
    text = (
        f"{better} is better: no recipe is better in both than {', '.join(row.recipe for row in best)}. Points without "
        "a number are the other recipes."
    )
    if away:
        text += f" Controls beyond the figure: {', '.join(away)}."
    return Drawing("trade-off", f"{titles[1][0].upper()}{titles[1][1:]} against {titles[0]}", text, figure, hover)


def heaps(places: npt.NDArray[np.float64]) -> list[tuple[int, str]]:
    """Labels of numbered places `[N, 2]` in pixels: where some lie in a heap, the first has the numbers of all."""
    found: dict[int, list[int]] = {}
    for number, place in enumerate(places):
        near = (first for first in found if np.hypot(*(places[first] - place)) < HEAP)
        found.setdefault(next(near, number), []).append(number + 1)
    return [(first, ", ".join(map(str, numbers))) for first, numbers in found.items()]


def _limits(values: Sequence[float]) -> tuple[float, float]:
    room = ROOM * (max(values) - min(values)) or ROOM * abs(values[0])
    return min(values) - room, max(values) + room
