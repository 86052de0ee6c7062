"""Kernel × bandwidth, as a heat map."""

from collections.abc import Sequence

import numpy as np

from orchestrator.report.figures.drawing import INK, Drawing, grid
from orchestrator.report.search.axes import HeatMap

COLUMNS = 2
COLOURS = "viridis_r"
"""Dark is bad; as bright in grey as in colour, for colour-blind readers and print."""
LIGHT, DARK = "#ffffff", "#111111"
"""Words on these colours, which are the same on every ground."""


def heat_maps(found: Sequence[HeatMap], rule: str) -> Drawing:
    """A map for every part and bandwidth: mean score behind the best of the cell, with the number of trials."""
    figure, every = grid(4.6, 1.9, len(found), COLUMNS)
    highest = max((float(np.nanmax(one.behind)) for one in found), default=0.0) or 1.0
    for axes, one in zip(every, found, strict=True):
        axes.pcolormesh(one.behind, cmap=COLOURS, vmin=0.0, vmax=highest)  # shapes, not pixels
        axes.invert_yaxis()
        for (kernel, b), count in np.ndenumerate(one.counts):
            value = one.behind[kernel, b]
            words = f"{value:.2f} ({count})" if count else "–"
            dark = bool(count) and value > highest / 2
            colour = INK if not count else LIGHT if dark else DARK
            axes.text(b + 0.5, kernel + 0.5, words, ha="center", va="center", fontsize=7, color=colour)
        axes.set_yticks(np.arange(len(one.kernels)) + 0.5, one.kernels, fontsize=7)
        named = [f"{low:.2g}–{high:.2g}" for low, high in zip(one.edges, one.edges[1:], strict=False)]
        axes.set_xticks(np.arange(len(named)) + 0.5, named, fontsize=7)
        axes.set_xlabel(one.bandwidth, fontsize=8)
    parts = ", ".join(dict.fromkeys(one.part for one in found))
    text = f"{rule} behind the best of the cell for the kernels of {parts} by bandwidth, with the number of trials."
    return Drawing("kernels", "Kernel and bandwidth", text, figure)
