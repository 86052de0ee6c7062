"""A table of the page: with a caption and headings that a screen reader finds, sortable where there is a script."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from orchestrator.report.page.part import render


@dataclass(frozen=True)
class Column:
    """A heading; `words` stand left and numbers right. `region` is what the column is filtered by."""

    title: str
    words: bool = False
    region: str = ""


@dataclass(frozen=True)
class Cell:
    """A text with a smaller one beside it; `order` is what it is sorted by, itself where there is none.

    `kind` names its look; `said` is read out to those who do not see that.
    """

    text: str
    beside: str = ""
    order: float | None = None
    kind: str = ""
    said: str = ""


@dataclass(frozen=True)
class Line:
    """Cells of a row, the first its heading; `tags` are what it is filtered by."""

    cells: Sequence[Cell | str]
    tags: str = ""


def grid(caption: str, columns: Sequence[Column], lines: Sequence[Line]) -> Markup:
    """A table whose rows are named by their first cells."""
    shown = [(line.tags, [cell if isinstance(cell, Cell) else Cell(cell) for cell in line.cells]) for line in lines]
    return render("grid.html.j2", caption=caption, columns=columns, lines=shown)
