"""The page: which parts it has, in which order, and what holds them together."""

import base64
import gc
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Final

from markupsafe import Markup

from orchestrator.report.figures.inline import inline
from orchestrator.report.page.part import OfStudy, OfWorkload, Part, render
from orchestrator.report.page.parts.calibration import calibration
from orchestrator.report.page.parts.changes import changes
from orchestrator.report.page.parts.contributions import contributions
from orchestrator.report.page.parts.costs import costs
from orchestrator.report.page.parts.failures import failures
from orchestrator.report.page.parts.hyperparameters import hyperparameters
from orchestrator.report.page.parts.label_error import label_error
from orchestrator.report.page.parts.provenance import provenance, rows_again
from orchestrator.report.page.parts.settings import settings
from orchestrator.report.page.parts.table import table
from orchestrator.report.page.parts.tails import tails
from orchestrator.report.page.parts.trade_off import trade_off
from orchestrator.report.page.parts.verdict import verdict
from orchestrator.report.sections import Results

OF_A_WORKLOAD: Final[tuple[OfWorkload, ...]] = (
    verdict,
    label_error,
    table,
    tails,
    changes,
    contributions,
    trade_off,
    calibration,
    settings,
    hyperparameters,
    failures,
    costs,
    rows_again,
)
"""The parts of every workload, in the order of the page: a new part is a file of `parts/` and its name here."""
OF_THE_STUDY: Final[tuple[OfStudy, ...]] = (provenance,)
"""The parts behind those of the workloads."""


@dataclass(frozen=True)
class Page:
    """The page as HTML, and its figures by the names of their files."""

    html: str
    figures: dict[str, bytes]


@dataclass(frozen=True)
class Shown:
    """A part with its figures as elements of the page, each with its caption."""

    part: Part
    anchor: str
    figures: list[tuple[Markup, str]]


def page(results: Results, formats: Sequence[str] = ()) -> Page:
    """The report as one HTML page that needs nothing else, and its figures as `svg`, `pdf` or `png`.

    The figures of a workload are written before those of the next are drawn: each takes tens of megabytes.
    """
    figures: dict[str, bytes] = {}
    chapters = [
        (
            section.table.workload,
            _forgotten(
                _shown([made(results, section) for made in OF_A_WORKLOAD], section.table.workload, formats, figures)
            ),
        )
        for section in results.sections
    ]
    behind = _shown([made(results) for made in OF_THE_STUDY], "study", formats, figures)
    style, script = (resources.files(__package__).joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    html = render(
        "page.html.j2",
        study=results.study,
        partial=partial(results),
        chapters=chapters,
        behind=behind,
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}'",
    )
    return Page(str(html), figures)


def partial(results: Results) -> str:
    """What of the study is missing, in words; empty where it is complete."""
    cells = [pair for section in results.sections for pair in section.rows]
    planned = sum(source.planner.planned(plan) for plan, source in cells)
    failed = sum(len(plan.failures()) for plan, _ in cells)
    done = sum(len(plan.records("tune")) + len(plan.records("evaluate")) for plan, _ in cells) - failed
    if done == planned:
        return ""
    rows = [row for section in results.sections for row in section.table.recipes]
    without = sum(not row.seeds for row in rows)
    lines = [f"{done:,} of {planned:,} trials are done{f', {failed:,} failed' if failed else ''}."]
    if without:
        lines.append(f"{without} of {len(rows)} rows have no results.")
    return " ".join(lines)


def digest(text: str) -> str:
    """What a Content-Security-Policy calls an inlined text that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _shown(parts: list[Part | None], chapter: str, formats: Sequence[str], figures: dict[str, bytes]) -> list[Shown]:
    """Parts with their figures drawn; their files are added to `figures`."""
    shown = []
    for part in parts:
        if part is None:
            continue
        elements = []
        for drawing in part.figures:
            name = f"{chapter}-{drawing.name}"
            elements.append((Markup(inline(drawing, name)), drawing.text))
            for format in formats:
                figures[f"{name}.{format}"] = drawing.svg if format == "svg" else drawing.file(format)
        shown.append(Shown(replace(part, figures=()), f"{chapter}-{part.name}", elements))
    return shown


def _forgotten(shown: list[Shown]) -> list[Shown]:
    """Parts whose figures nobody refers to any more but these themselves: now they are gone."""
    gc.collect(1)  # they are young; to look through all that a study of many cells holds would take seconds
    return shown
