"""What failed, and what is missing."""

from orchestrator.report.page.grid import Column, Line, grid
from orchestrator.report.page.part import Part
from orchestrator.report.sections import Results, Section
from orchestrator.study.cell_plan import reason


def failures(results: Results, section: Section) -> Part:
    """Every failed trial with its reason; that none failed is said, too."""
    failed = [(plan, record) for plan in section.plans for record in plan.failures()]
    if not failed:
        return Part("failures", "Failures", "No trial failed.")
    heads = [Column(name, words=True) for name in ("Recipe", "Trial", "Reason")]
    lines = [
        Line(
            [
                plan.label,
                f"{'tuning' if record.test is None else 'evaluation'} {record.number}",
                reason(record),
            ]
        )
        for plan, record in failed
    ]
    return Part("failures", "Failures", grid("Failed trials", heads, lines))
