"""What the trials ran with."""

from orchestrator.report.page.part import Part, render
from orchestrator.report.sections import Results


def versions(results: Results) -> Part:
    """Versions of the libraries that matter."""
    found = {
        name: value
        for section in results.sections
        for plan in section.plans
        for record in plan.records("evaluate")
        for name, value in record.versions.items()
    }
    return Part("versions", "Versions", render("parts/versions.html.j2", versions=found))
