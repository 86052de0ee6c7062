"""What a gain in the few-shot region costs elsewhere."""

from matplotlib import colormaps

from orchestrator.report.escape import figure_text
from orchestrator.report.figures.drawing import Drawing, sheet
from orchestrator.report.row_scores import PERCENT
from orchestrator.report.tables import ERROR, TITLES, Table
from workloads import WORKLOADS


def error_title(workload: str) -> str:
    """The error that the figures of a workload show, with its unit."""
    metric = ERROR[WORKLOADS[workload].task]
    return TITLES[metric] if metric in PERCENT else f"{TITLES[metric]} ({figure_text(WORKLOADS[workload].unit)})"


def trade_off(table: Table) -> Drawing:
    """Test error in the few-shot region against the many-shot region: a numbered point per recipe and the best control.

    Bars are one sd.
    """
    figure, axes = sheet(10.0, 5.0)
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
    axes.set_xlabel(f"many-shot test {error_title(table.workload)}")
    axes.set_ylabel(f"few-shot test {error_title(table.workload)}")
    axes.grid(alpha=0.3)
    if shown:  # a data set may have no region of many rows
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False, fontsize=8)
    return Drawing("trade-off", "Few against Many", "Lower left is better.", figure)
