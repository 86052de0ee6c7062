"""The page: which parts it has, in which order, and what holds them together."""

import base64
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

from markupsafe import Markup

from orchestrator.report.figures.inline import inline
from orchestrator.report.page.part import OfStudy, OfWorkload, Part, render
from orchestrator.report.page.parts.changes import changes
from orchestrator.report.page.parts.contributions import contributions
from orchestrator.report.page.parts.figures import figures
from orchestrator.report.page.parts.hyperparameters import hyperparameters
from orchestrator.report.page.parts.ranges import ranges
from orchestrator.report.page.parts.settings import settings
from orchestrator.report.page.parts.table import table
from orchestrator.report.page.parts.verdict import verdict
from orchestrator.report.page.parts.versions import versions
from orchestrator.report.sections import Results

OF_A_WORKLOAD: Final[tuple[OfWorkload, ...]] = (
    verdict,
    table,
    changes,
    contributions,
    figures,
    settings,
    hyperparameters,
    ranges,
)
"""The parts of every workload, in the order of the page: a new part is a file of `parts/` and its name here."""
OF_THE_STUDY: Final[tuple[OfStudy, ...]] = (versions,)
"""The parts behind those of the workloads."""
FORMATS: Final = ("svg", "pdf", "png")


@dataclass(frozen=True)
class Page:
    """The page as HTML, and its figures as files, by name."""

    html: str
    figures: dict[str, bytes]


@dataclass(frozen=True)
class Shown:
    """A part with its figures as elements of the page."""

    part: Part
    anchor: str
    figures: list[Markup]


def page(results: Results) -> Page:
    """The report as one HTML page that needs nothing else, and the files of its figures."""
    files: dict[str, bytes] = {}
    chapters = [
        (
            section.table.workload,
            _shown([made(results, section) for made in OF_A_WORKLOAD], section.table.workload, files),
        )
        for section in results.sections
    ]
    behind = _shown([made(results) for made in OF_THE_STUDY], "study", files)
    style, script = (resources.files(__package__).joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    html = render(
        "page.html.j2",
        study=results.study,
        chapters=chapters,
        behind=behind,
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}'",
    )
    return Page(str(html), files)


def digest(text: str) -> str:
    """What a Content-Security-Policy calls an inlined text that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _shown(parts: list[Part | None], chapter: str, files: dict[str, bytes]) -> list[Shown]:
    """Parts with their figures drawn; their files are added to `files`."""
    shown = []
    for part in parts:
        if part is None:
            continue
        elements = []
        for drawing in part.figures:
            name = f"{chapter}-{drawing.name}"
            drawn = {format: drawing.file(format) for format in FORMATS}
            files |= {f"{name}.{format}": content for format, content in drawn.items()}
            elements.append(Markup(inline(drawn["svg"], drawing, name)))
        shown.append(Shown(part, f"{chapter}-{part.name}", elements))
    return shown
