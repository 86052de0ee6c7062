"""Text that comes from data, made harmless where it is shown: names, titles, units, errors and warnings of trials.

Plain text stays as it is, to the byte. HTML is escaped by the template engine.
"""

import re
from typing import Final

from orchestrator.errors import printable

LONGEST: Final = 1000
"""Characters of a text of others: an error may hold a whole array."""
TEX: Final = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "δ": r"$\delta$",
    "<": r"$<$",
    ">": r"$>$",
    **{letter: f"\\{letter}" for letter in "{}$&#_%"},
}


def line(text: str) -> str:
    """One line of bounded length: control characters, which a terminal obeys, are shown as in a Python string."""
    shown = re.sub(r"[\n\t]", " ", printable(text[: LONGEST + 1]))
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


def markdown_text(text: str) -> str:
    """A line of Markdown that is neither a tag, nor code, nor a link, nor two cells of a table."""
    shown = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", line(text))
    return shown.replace("`", "'").replace("](", r"]\(").replace("|", r"\|")


def tex_text(text: str) -> str:
    """Text of LaTeX without commands, mathematics or comments of its own."""
    return "".join(TEX.get(letter, letter) for letter in line(text))


def csv_text(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    shown = line(text)
    return f"'{shown}" if shown[:1] in {"=", "+", "-", "@"} else shown


def figure_text(text: str) -> str:
    """Text of a figure without mathematics."""
    return line(text).replace("$", r"\$")
