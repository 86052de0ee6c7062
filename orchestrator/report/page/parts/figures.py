"""The labels, and what a gain in one region costs in another."""

from orchestrator.report.figures.label_histogram import label_histogram
from orchestrator.report.figures.trade_off import trade_off
from orchestrator.report.page.part import Part
from orchestrator.report.sections import Results, Section


def figures(results: Results, section: Section) -> Part:
    """The histogram of labels, and the trade-off where there are scores."""
    drawn = [label_histogram(section.workload, section.data)]
    if any(row.scores for row in section.table.rows):
        drawn.append(trade_off(section.table))
    return Part("figures", "Figures", figures=tuple(drawn))
