"""The error by label, and how many labels there are to learn from."""

from orchestrator.report.featured import MOST, alike, featured
from orchestrator.report.figures.label_error import draw_label_error
from orchestrator.report.figures.label_histogram import label_histogram
from orchestrator.report.page.part import Part
from orchestrator.report.sections import Results, Section


def label_error(results: Results, section: Section) -> Part:
    """Error curves above the histogram of training labels; the histogram alone where there are no predictions."""
    name = section.table.workload
    shown = featured(section, results.ledger)
    if not shown:
        return Part("labels", "Labels", figures=(label_histogram(section.workload, section.data),))
    others = len(alike(section.table))
    few = f"Of {others} recipes that cannot be told from the best, those with the {MOST} best means have a line."
    drawn = draw_label_error(name, section.data, shown)
    return Part("error", "Error by label", figures=(drawn,), notes=(few,) if others > MOST else ())
