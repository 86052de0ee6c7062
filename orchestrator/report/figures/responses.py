"""How far trials lie behind the best of their cell, by one hyperparameter."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from orchestrator.report.escape import figure_text
from orchestrator.report.figures.drawing import BLUE, VERMILION, Drawing, grid, lines
from orchestrator.report.search.axes import Response

BINS = 4
COLUMNS = 4
PANELS = 16
"""At most: more hyperparameters are those of many methods, each with trials of its own cells only."""
POINTS = 500
"""Of a panel at most: more hide one another, and take megabytes."""


def responses(found: Sequence[Response], rule: str) -> Drawing:
    """A panel for every number that was searched: trials as points, means of a quarter of the range as a line.

    Of more than `PANELS` numbers those with the most trials have one; of more than `POINTS` trials every second, third,
    … is a point; means are those of all.
    """
    searched, found = len(found), _most(found)
    figure, every = grid(2.6, 2.2, len(found), COLUMNS)
    for axes, one in zip(every, found, strict=True):
        every_kth = slice(None, None, -(-len(one.values) // POINTS))
        axes.plot(one.values[every_kth], one.behind[every_kth], ".", color=BLUE, alpha=0.6, markersize=5)
        log = one.log and bool((one.values > 0).all())
        scale = np.log if log else np.asarray
        place = scale(one.values)
        edges = np.linspace(place.min(), place.max(), BINS + 1)
        at = np.minimum(np.searchsorted(edges, place, side="right") - 1, BINS - 1)
        filled = [b for b in range(BINS) if (at == b).any()]
        middles = [float(np.exp(place[at == b].mean()) if log else place[at == b].mean()) for b in filled]
        axes.plot(middles, [float(one.behind[at == b].mean()) for b in filled], color=VERMILION, linewidth=1.2)
        if log:
            axes.set_xscale("log")
            few = one.values.max() / one.values.min() < 50  # then powers of ten alone would be one tick, or none
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(figure_text(one.name), fontsize=8)
        axes.tick_params(labelsize=7)
        lines(axes)
    if every:
        figure.supylabel(f"{rule} behind the cell's best", fontsize=8)
    names = ", ".join(one.name for one in found)
    text = f"Score behind the best of the cell against {names}."
    if searched > PANELS:
        text += f" Of {searched} hyperparameters the {PANELS} with the most trials are shown."
    if any(len(one.values) > POINTS for one in found):
        text += f" Of more than {POINTS} trials every second, third, … is a point; means are those of all."
    return Drawing("responses", "Single hyperparameters", text, figure)


def _most(found: Sequence[Response]) -> list[Response]:
    """Those with the most trials, in their order."""
    order = sorted(range(len(found)), key=lambda place: -len(found[place].values))
    return [found[place] for place in sorted(order[:PANELS])]
