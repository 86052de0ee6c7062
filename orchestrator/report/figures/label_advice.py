"""What labels say about their settings: the histogram with its advised window and regions, and the windows tried."""

import numpy as np
from matplotlib.axes import Axes

from orchestrator.report.figures.drawing import BLUE, GREEN, INK, PURPLE, REGION_COLOURS, VERMILION, Drawing, panels
from orchestrator.report.figures.label_histogram import label_axis
from workloads.advice import Advice
from workloads.labels import REGIONS, kernel_window
from workloads.workload import Data, Workload

COLOURS = {"gaussian": BLUE, "laplace": VERMILION, "triang": GREEN}


def label_advice(workload: Workload, data: Data, advice: Advice) -> Drawing:
    """The labels with what is advised for them, and beside it how well every window tells a held-out label."""
    figure, (labels, tried) = panels(9.5, 3.4, 2)
    _labels(labels, workload, data, advice)
    _tried(tried, advice)
    best = advice.best
    said = f"Training labels, and the held-out score of every window: the best is {best.kernel}, {best.width} bins."
    return Drawing("advice", "What the labels say", said, figure)


def _labels(axes: Axes, workload: Workload, data: Data, advice: Advice) -> None:
    grid, counts = workload.grid, workload.bin_counts(data)
    where = advice.shots.of_counts(counts)
    for place, region in enumerate(REGIONS):
        mask = (where == place) & (counts > 0)
        if mask.any():
            axes.bar(grid.centres[mask], counts[mask], grid.width * 0.9, color=REGION_COLOURS[region], label=region)
    window = kernel_window(advice.best.kernel, advice.best.width, advice.best.sigma, normalize="sum")
    half = len(window) // 2
    smoothed = np.convolve(counts, window, mode="full")[half : half + len(counts)]
    axes.plot(grid.centres[smoothed > 0], smoothed[smoothed > 0], color=INK, linewidth=1, label="smoothed as advised")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.set_xlabel(label_axis(workload))
    axes.set_ylabel("training rows per bin")
    beside = axes.twinx()
    beside.plot(grid.centres, advice.relevance(grid.centres), color=PURPLE, linestyle="--", linewidth=1.2)
    beside.set_ylim(-0.02, 1.02)
    beside.set_ylabel("relevance (dashed)", color=PURPLE)
    axes.legend(frameon=False, ncols=2, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _tried(axes: Axes, advice: Advice) -> None:
    for kernel, colour in COLOURS.items():
        of_kernel = [window for window in advice.tried if window.kernel == kernel]
        widths = sorted({window.width for window in of_kernel})
        best = [max(window.score for window in of_kernel if window.width == width) for width in widths]
        axes.plot(widths, best, color=colour, marker="o", markersize=3, linewidth=1.2, label=f"{kernel}, best sigma")
    axes.axhline(advice.unsmoothed, color=INK, linewidth=1, linestyle=":", label="not smoothed")
    axes.axhline(advice.published, color=INK, linewidth=1, linestyle="--", label="published: gaussian 5, sigma 2")
    axes.plot(
        advice.best.width, advice.best.score, "o", markersize=9, markerfacecolor="none", color=INK, label="advised"
    )
    axes.set_xlabel("width of the window, in bins")
    axes.set_ylabel("held-out log density, nats a row")
    axes.legend(frameon=False, ncols=2, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0))
