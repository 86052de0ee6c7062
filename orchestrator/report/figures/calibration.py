"""Whether predictions mean what they say."""

from collections.abc import Sequence

from orchestrator.report.featured import Featured, calibration
from orchestrator.report.figures.drawing import INK, WIDTH, Drawing, lines, sheet
from orchestrator.report.figures.featured_lines import looks
from orchestrator.report.figures.label_histogram import label_axis
from workloads import WORKLOADS


def draw_calibration(name: str, shown: Sequence[Featured]) -> Drawing:
    """Mean label against mean prediction in groups of neighbouring predictions; on the diagonal both are equal."""
    workload = WORKLOADS[name]
    figure, axes = sheet(WIDTH, 5.0)
    told, ends = [], []
    for one, line in zip(shown, looks(shown), strict=True):
        pred, y = calibration(one)
        axes.plot(pred, y, marker="o", markersize=3.5, **line)
        ends += [*pred, *y]
        told.append(
            f"{one.recipe}: predictions of {pred[0]:.4g} … {pred[-1]:.4g} for labels of {y[0]:.4g} … {y[-1]:.4g}"
        )
    low, high = min(ends), max(ends)
    axes.plot([low, high], [low, high], color=INK, linewidth=0.7, alpha=0.6)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(f"mean prediction: {label_axis(workload)}")
    axes.set_ylabel("mean label of the same rows")
    lines(axes)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize=9, frameon=False)
    text = f"Means of groups of test rows with neighbouring predictions. {'; '.join(told)}."
    return Drawing("calibration", f"Calibration on {name}", text, figure)
