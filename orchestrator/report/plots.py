"""Figures of a study, as SVG."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.report.escape import figure_text
from orchestrator.report.tables import ERROR, PERCENT, TITLES, Difference, Table
from workloads import WORKLOADS
from workloads.labels import REGIONS, kernel_window
from workloads.workload import Data, Workload

COLOURS = {"many": "#4c72b0", "medium": "#dd8452", "few": "#c44e52", "zero": "#8c8c8c", "all": "#333333"}


def _svg(figure: Figure) -> str:
    sink = io.StringIO()
    figure.savefig(sink, format="svg", bbox_inches="tight", metadata={"Date": None})
    return sink.getvalue()[sink.getvalue().index("<svg") :]


def _title(workload: str) -> str:
    """The error that the figures of a workload show, with its unit."""
    metric = ERROR[WORKLOADS[workload].task]
    return TITLES[metric] if metric in PERCENT else f"{TITLES[metric]} ({figure_text(WORKLOADS[workload].unit)})"


def trade_off(table: Table) -> str:
    """Test error in the few-shot region against the many-shot region: a numbered point per recipe, bars of one sd."""
    figure = Figure(figsize=(10.0, 5.0))
    axes = figure.add_subplot()
    metric = ERROR[WORKLOADS[table.workload].task]
    shown = [row for row in table.rows if {(metric, "many"), (metric, "few")} <= row.scores.keys()]
    for number, row in enumerate(shown, start=1):
        many, few = row.scores[metric, "many"], row.scores[metric, "few"]
        axes.errorbar(
            many.mean,
            few.mean,
            xerr=many.sd,
            yerr=few.sd,
            fmt="o",
            color=colormaps["tab20"]((number - 1) % 20),
            elinewidth=0.7,
            label=f"{number}  {figure_text(row.recipe)}",
        )
        axes.annotate(str(number), (many.mean, few.mean), xytext=(5, 4), textcoords="offset points", fontsize=9)
    axes.set_xlabel(f"many-shot test {_title(table.workload)}")
    axes.set_ylabel(f"few-shot test {_title(table.workload)}")
    axes.set_title(f"{figure_text(table.workload)}: lower left is better", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=8)
    return _svg(figure)


def forest(differences: Sequence[Difference], workload: str, region: str = "few") -> str:
    """Differences to the base in one region with their intervals."""
    shown = [d for d in differences if region in d.by_region]
    figure = Figure(figsize=(7.5, 0.28 * len(shown) + 1.0))
    axes = figure.add_subplot()
    for position, difference in enumerate(reversed(shown)):
        i = difference.by_region[region]
        colour = "#4c72b0" if i.high < 0 else "#c44e52" if i.low > 0 else "#8c8c8c"
        axes.plot([i.low, i.high], [position, position], color=colour, linewidth=2)
        axes.plot(i.value, position, "o", color=colour)
    axes.axvline(0, color="#333333", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [figure_text(d.recipe) for d in reversed(shown)], fontsize=8)
    axes.set_xlabel(f"change of the {region}-shot {_title(workload)}; left of zero is better")
    axes.grid(axis="x", alpha=0.3)
    return _svg(figure)


def histogram(axes: Axes, workload: Workload, data: Data) -> None:
    """Training rows per bin, coloured by shot region, and their density smoothed as LDS does, on a logarithmic axis."""
    grid = workload.grid
    counts = workload.bin_counts(data)
    where = workload.shots.of_counts(counts)
    for position, region in enumerate(REGIONS):
        mask = (where == position) & (counts > 0)
        if mask.any():
            axes.bar(grid.centres[mask], counts[mask], width=grid.width * 0.9, color=COLOURS[region], label=region)
    smoothed = np.convolve(counts, kernel_window("gaussian", 5, 2.0, normalize="sum"), mode="full")[2:-2]
    axes.plot(grid.centres[smoothed > 0], smoothed[smoothed > 0], color="#333333", linewidth=1, label="smoothed")
    axes.set_yscale("log")
    axes.set_xlabel(figure_text(f"{workload.title} ({workload.unit})" if workload.unit else workload.title))
    axes.set_ylabel(f"training {'pixels' if workload.dense else 'rows'} per bin")
    axes.legend(frameon=False, ncols=4, fontsize=8)


def label_histogram(workload: str, data: Data) -> str:
    """`histogram` as SVG."""
    figure = Figure(figsize=(7.5, 2.6))
    histogram(figure.add_subplot(), WORKLOADS[workload], data)
    return _svg(figure)
