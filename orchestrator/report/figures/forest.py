"""Every recipe's change against its base."""

import numpy as np

from orchestrator.report.escape import figure_text
from orchestrator.report.figures.drawing import BLUE, GREEN, INK, VERMILION, WIDTH, Drawing, lines, sheet
from orchestrator.report.tables import TITLES, Table

VERDICT_COLOURS = {"better": BLUE, "worse": VERMILION, "equivalent": GREEN, "undecided": INK}
VERDICT_MARKERS = {"better": "v", "worse": "^", "equivalent": "s", "undecided": "o"}
"""Verdicts are told apart by marker as well."""


def forest(table: Table) -> Drawing:
    """Changes in the primary column with their intervals; colour and marker: verdict."""
    column = table.primary
    found = [table.comparisons.get((recipe, column)) for recipe in table.compared]
    shown = [made for made in found if made is not None]
    figure, axes = sheet(WIDTH, 0.28 * len(shown) + 1.2)
    for position, made in enumerate(reversed(shown)):
        colour, value = VERDICT_COLOURS[made.verdict], np.exp(made.value) if made.ratio else made.value
        if made.interval is not None:
            axes.plot([made.interval.low, made.interval.high], [position, position], color=colour, linewidth=2)
        axes.plot(value, position, VERDICT_MARKERS[made.verdict], color=colour)
    axes.axvline(1.0 if shown and shown[0].ratio else 0.0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(shown)), [figure_text(made.recipe) for made in reversed(shown)], fontsize=8)
    metric, region = column
    named = f"{TITLES.get(metric, metric)} in {region.capitalize()}"
    axes.set_xlabel(f"change of the test {named}\n▼ better, ▲ worse, ■ equivalent, ● undecided", fontsize=9)
    lines(axes, "x")
    return Drawing(
        "changes",
        f"Change of the test {named}",
        "Change with its 95 % interval; the numbers are in the table below.",
        figure,
    )
