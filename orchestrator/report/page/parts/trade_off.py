"""What a gain where labels are rare costs elsewhere."""

from orchestrator.report.figures.trade_off import trade_off as draw
from orchestrator.report.page.part import Part
from orchestrator.report.sections import Results, Section


def trade_off(results: Results, section: Section) -> Part | None:
    """The Pareto front; nothing without scores in two columns."""
    drawn = draw(section.table)
    return None if drawn is None else Part("trade-off", "Trade-off", figures=(drawn,))
