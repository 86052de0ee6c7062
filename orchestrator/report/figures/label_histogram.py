"""Training rows per label bin."""

import numpy as np
from matplotlib.axes import Axes

from orchestrator.report.escape import figure_text
from orchestrator.report.figures.drawing import INK, REGION_COLOURS, WIDTH, Drawing, sheet
from workloads.labels import REGIONS, kernel_window
from workloads.workload import Data, Workload


def histogram(axes: Axes, workload: Workload, data: Data) -> None:
    """Training rows per bin, coloured by shot region, and their density smoothed as LDS does, on a logarithmic axis."""
    grid = workload.grid
    counts = workload.bin_counts(data)
    where = workload.shots.of_counts(counts)
    for position, region in enumerate(REGIONS):
        mask = (where == position) & (counts > 0)
        if mask.any():
            width = grid.width * 0.9
            axes.bar(grid.centres[mask], counts[mask], width=width, color=REGION_COLOURS[region], label=region)
    smoothed = np.convolve(counts, kernel_window("gaussian", 5, 2.0, normalize="sum"), mode="full")[2:-2]
    axes.plot(grid.centres[smoothed > 0], smoothed[smoothed > 0], color=INK, linewidth=1, label="smoothed")
    axes.set_yscale("log")
    axes.set_xlabel(label_axis(workload))
    axes.set_ylabel(f"training {'pixels' if workload.dense else 'rows'} per bin")
    axes.legend(frameon=False, ncols=2, fontsize=8)


def label_axis(workload: Workload) -> str:
    """What the label is, with its unit."""
    return figure_text(f"{workload.title} ({workload.unit})" if workload.unit else workload.title)


def label_histogram(workload: Workload, data: Data) -> Drawing:
    """`histogram` of a workload."""
    figure, axes = sheet(WIDTH, 2.4)
    histogram(axes, workload, data)
    counts = workload.bin_counts(data)
    where = workload.shots.of_counts(counts)
    shares = ", ".join(
        f"{int(counts[where == place].sum()):,} in {int((where == place).sum())} bins of the region {region}"
        for place, region in enumerate(REGIONS)
        if counts[where == place].sum()
    )
    return Drawing("labels", "Training labels", f"Training rows per label bin: {shares}.", figure)
