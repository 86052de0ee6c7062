"""Figures of a study, as SVG."""

import io

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.report.escape import figure_text
from orchestrator.report.row_scores import PERCENT
from orchestrator.report.tables import ERROR, TITLES, Table
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
    """Test error in the few-shot region against the many-shot region: a numbered point per recipe and the best control.

    Bars are one sd.
    """
    figure = Figure(figsize=(10.0, 5.0))
    axes = figure.add_subplot()
    metric = ERROR[WORKLOADS[table.workload].task]
    rows = [*table.recipes, *([table.control] if table.control else [])]
    shown = [row for row in rows if {(metric, "many"), (metric, "few")} <= row.scores.keys()]
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
    if shown:  # a data set may have no region of many rows
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=8)
    return _svg(figure)


VERDICT_COLOURS = {"better": "#0072b2", "worse": "#d55e00", "equivalent": "#009e73", "undecided": "#8c8c8c"}
"""Told apart by colour-blind readers too (Okabe and Ito), and by their markers."""
VERDICT_MARKERS = {"better": "v", "worse": "^", "equivalent": "s", "undecided": "o"}


def forest(table: Table) -> str:
    """Every recipe's change against its base in the primary column, with its interval; colour and marker: verdict."""
    column = table.primary
    found = [table.comparisons.get((recipe, column)) for recipe in table.compared]
    shown = [made for made in found if made is not None]
    figure = Figure(figsize=(7.5, 0.28 * len(shown) + 1.2))
    axes = figure.add_subplot()
    for position, made in enumerate(reversed(shown)):
        colour, value = VERDICT_COLOURS[made.verdict], np.exp(made.value) if made.ratio else made.value
        if made.interval is not None:
            axes.plot([made.interval.low, made.interval.high], [position, position], color=colour, linewidth=2)
        axes.plot(value, position, VERDICT_MARKERS[made.verdict], color=colour)
    axes.axvline(1.0 if shown and shown[0].ratio else 0.0, color="#333333", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [figure_text(made.recipe) for made in reversed(shown)], fontsize=8)
    axes.set_xlabel(f"change of the test {_named(*column)}: ▼ better, ▲ worse, ■ equivalent, ● undecided", fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    return _svg(figure)


def _named(metric: str, region: str) -> str:
    return f"{TITLES.get(metric, metric)} in {region.capitalize()}"


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
