"""Whether predictions mean what they say."""

from orchestrator.report.featured import featured
from orchestrator.report.figures.calibration import draw_calibration
from orchestrator.report.page.part import Part
from orchestrator.report.sections import Results, Section
from workloads import WORKLOADS


def calibration(results: Results, section: Section) -> Part | None:
    """Of the best recipe, the base and the best control; nothing for classes, whose number is no amount."""
    if WORKLOADS[section.table.workload].task != "regression":
        return None
    shown = featured(section, results.ledger, ("best", "base", "control"))
    if not shown:
        return None
    drawn = draw_calibration(section.table.workload, shown)
    return Part("calibration", "Calibration", figures=(drawn,))
