"""What a part of the page is, and how its template is filled."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import jinja2
from markupsafe import Markup, escape

from orchestrator.report.escape import line
from orchestrator.report.figures.drawing import Drawing
from orchestrator.report.sections import Results, Section


@dataclass(frozen=True)
class Part:
    """A heading with figures, a body of HTML and notes, in this order; `name` is its anchor and starts its ids.

    A body that is `Markup` is HTML, any other is text; notes are text with `code` between backticks.
    """

    name: str
    heading: str
    body: str = ""
    figures: tuple[Drawing, ...] = ()
    notes: tuple[str, ...] = ()


OfWorkload: TypeAlias = Callable[[Results, Section], Part | None]
"""Makes a part about one workload; None where there is nothing to say."""
OfStudy: TypeAlias = Callable[[Results], Part | None]
"""Makes a part about the whole study."""


def coded(text: str) -> Markup:
    """A line of text, what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(line(text)))))


_ENVIRONMENT: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("orchestrator.report.page", "."),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
_ENVIRONMENT.filters |= {"coded": coded, "line": line}


def render(template: str, **values: Any) -> Markup:
    """A template of this folder, filled; what comes from data is escaped."""
    return Markup(_ENVIRONMENT.get_template(template).render(**values))
