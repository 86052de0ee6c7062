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
        down, across = (np.arange(size + 1) - 0.5 for size in one.behind.shape)
        axes.pcolormesh(across, down, np.ma.masked_invalid(one.behind), cmap=COLOURS, vmin=0.0, vmax=highest)
        axes.invert_yaxis()
        for (kernel, b), count in np.ndenumerate(one.counts):
            value = one.behind[kernel, b]
            words = f"{value:.2f} ({count})" if count else "–"
            dark = bool(count) and value > highest / 2
            colour = INK if not count else LIGHT if dark else DARK
            axes.text(b, kernel, words, ha="center", va="center", fontsize=7, color=colour)
        axes.set_yticks(range(len(one.kernels)), one.kernels, fontsize=7)
        named = [f"{low:.2g}–{high:.2g}" for low, high in zip(one.edges, one.edges[1:], strict=False)]
        axes.set_xticks(range(len(named)), named, fontsize=7)
        axes.set_xlabel(one.bandwidth, fontsize=8)
    parts = ", ".join(dict.fromkeys(one.part for one in found))
    text = f"{rule} behind the best of the cell for the kernels of {parts} by bandwidth, with the number of trials."
    return Drawing("kernels", "Kernel and bandwidth", text, figure)
