"""The error by label: where recipes gain and where they lose, above the labels that they learn from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from orchestrator.report.featured import Featured, half_window, label_error
from orchestrator.report.figures.drawing import INK, WIDTH, Drawing, lines, sheet, stacked
from orchestrator.report.figures.featured_lines import looks
from orchestrator.report.figures.label_histogram import histogram, label_axis
from orchestrator.report.figures.trade_off import error_title
from workloads import WORKLOADS
from workloads.labels import REGIONS, Floats
from workloads.workload import Data, Workload

RARE = ("few", "zero")


def draw_label_error(name: str, data: Data, shown: Sequence[Featured]) -> Drawing:
    """Curves of the featured rows over the label; bins of the few-shot region are shaded, so both tails are seen."""
    workload = WORKLOADS[name]
    half, tested = _half(name, shown), np.flatnonzero(workload.grid.counts(shown[0].y))
    figure, (axes, below) = stacked(WIDTH, (3.9, 1.9))
    hover, told = {}, []
    for one, line, errors in _curves(axes, name, shown):
        hover[line["gid"]] = one.recipe
        if one.role != "also":
            ends = [f"{errors[tested[place]]:.3g}" for place in (0, len(tested) // 2, -1)]
            told.append(
                f"{one.recipe} errs by {ends[0]} at the lowest, {ends[1]} at the median, {ends[2]} at the highest"
            )
    _shade(axes, workload, data)
    histogram(below, workload, data)
    width = f"{workload.grid.width:g} {workload.unit}".rstrip()
    window = f"the mean over {2 * half + 1} bins of {width}" if half else f"the mean of a bin of {width}"
    text = (
        f"Test error by label; each point is {window}. Shaded: labels that are rare in training, as the rows per bin "
        f"below show. Of tested labels, {'; '.join(told)}."
    )
    return Drawing("error-by-label", f"Test error by label on {name}", text, figure, hover)


def draw_row_error(name: str, shown: Sequence[Featured]) -> Drawing:
    """The curves alone, of a row and its base: they need predictions, and no data."""
    figure, axes = sheet(WIDTH, 3.2)
    _curves(axes, name, shown)
    axes.set_xlabel(label_axis(WORKLOADS[name]))
    text = f"Test error by label of {' and '.join(one.recipe for one in shown)}."
    return Drawing("error-by-label", f"Test error by label on {name}", text, figure)


def _half(name: str, shown: Sequence[Featured]) -> int:
    workload = WORKLOADS[name]
    return half_window(workload.grid, shown[0].y) if workload.task == "regression" else 0


def _curves(axes: Axes, name: str, shown: Sequence[Featured]) -> list[tuple[Featured, dict[str, Any], Floats]]:
    """Draw the curves between the first and the last tested label; returns how each looks and its errors `[M]`."""
    grid, half, drawn = WORKLOADS[name].grid, _half(name, shown), []
    tested = np.flatnonzero(grid.counts(shown[0].y))
    inside = slice(tested[0], tested[-1] + 1)
    for one, line in zip(shown, looks(shown), strict=True):
        errors = label_error(one, name, half)
        axes.plot(grid.centres[inside], errors[inside], **line)
        drawn.append((one, line, errors))
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"test {error_title(name)}")
    lines(axes, "y")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize=9, frameon=False)
    return drawn


def _shade(axes: Axes, workload: Workload, data: Data) -> None:
    """Shade the bins with few training rows."""
    where = workload.shots.of_counts(workload.bin_counts(data))
    for start, end in runs(np.isin(where, [REGIONS.index(region) for region in RARE])):
        axes.axvspan(workload.grid.edges[start], workload.grid.edges[end], color=INK, alpha=0.07, linewidth=0)


def runs(marked: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First bin and the bin behind the last of every run of marked bins."""
    edges = np.flatnonzero(np.diff(np.r_[0, marked.astype(int), 0]))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
