"""Figures: the same bytes each time, harmless inside a page, and no heaps of labels."""

import re
from typing import cast
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure

from orchestrator.report.figures.budget import budget_curves
from orchestrator.report.figures.drawing import BLUE, INK, Drawing, lines, sheet
from orchestrator.report.figures.inline import inline
from orchestrator.report.figures.learning import learning_curves
from orchestrator.report.figures.trade_off import front, heaps, trade_off
from orchestrator.report.search.budget import BudgetCurve
from orchestrator.report.search.learning import LearningCurves
from orchestrator.report.stats import Spread
from orchestrator.report.tables import Row, Table

HOSTILE = "<script>alert(1)</script>"
FEW, ALL = ("mae", "few"), ("mae", "all")


def drawing() -> Drawing:
    """A figure with a line that says something."""
    figure, axes = sheet(3, 2)
    axes.plot([0, 1], [0, 1], color=BLUE, gid="line")
    axes.set_xlabel("x")
    lines(axes)
    return Drawing("one", HOSTILE, HOSTILE, figure, {"line": HOSTILE})


def table(**places: tuple[float, float]) -> Table:
    """Recipes with an error in few and one in all."""
    rows = [
        Row("nhanes-sbp", name, 1, {FEW: Spread(few, None, 1), ALL: Spread(every, None, 1)}, "")
        for name, (few, every) in places.items()
    ]
    return Table("nhanes-sbp", (ALL, FEW), tuple(rows), {}, primary=FEW)


@pytest.mark.parametrize("format", ["svg", "pdf", "png"])
def test_a_figure_has_the_same_bytes_each_time(format: str) -> None:
    assert drawing().file(format) == drawing().file(format)


def test_fonts_are_part_of_the_files() -> None:
    assert b"/FontFile2" in drawing().file("pdf")
    assert b"<text" not in drawing().file("svg")


class Measure(Artist):
    """Notes how far what is drawn goes beyond the sheet, in inches, whenever it is drawn itself."""

    def __init__(self) -> None:
        super().__init__()
        self.set_in_layout(False)
        self.beyond: list[float] = []

    def draw(self, renderer: RendererBase) -> None:
        """Ask all that is drawn for its place, by the widths that words have here."""
        figure = cast(Figure, self.figure)
        whole, sheet = figure.get_tightbbox(renderer), figure.bbox_inches
        self.beyond.append(max(-whole.x0, -whole.y0, whole.x1 - sheet.x1, whole.y1 - sheet.y1))


def test_nothing_is_cut_at_the_edge_in_any_format() -> None:
    names = ["l1 + lds + distloss", "l1 + sqinv + lds + fds + ranksim + distloss + rrt", "iiii", "WWWWWWWWWWWWWW"]
    budget = budget_curves({name: BudgetCurve(np.array([2.0, 1.0]), 1.5) for name in names}, "val/mae/few")
    losses = np.array([[3.0, 2.0, 1.0]])
    learning = learning_curves({name: LearningCurves(losses, losses, (2,)) for name in names}, "val/mae/few")
    trade = trade_off(table(**{name: (1.0 + place, 4.0 - place) for place, name in enumerate(names)}))
    for drawn in (budget, learning, trade):
        assert drawn is not None
        drawn.figure.add_artist(measure := Measure())
        for format in ("svg", "pdf", "png"):
            drawn.file(format)
        assert len(measure.beyond) >= 3 and max(measure.beyond) <= 0.0, (drawn.name, measure.beyond)


def test_inside_a_page_a_figure_has_no_style_no_foreign_ids_and_no_markup_of_others() -> None:
    element = inline(drawing(), "p")
    assert "style" not in element and "<script" not in element and INK not in element
    assert BLUE in element and "currentColor" in element
    ids = re.findall(r'\bid="([^"]+)"', element)
    assert ids and all(name.startswith("p-") for name in ids) and len(set(ids)) == len(ids)
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', element)) <= set(ids)
    titles = [e.text for e in ElementTree.fromstring(element).iter() if e.tag.endswith(("title", "desc"))]
    assert titles == [HOSTILE] * 3


def test_the_front_has_who_is_beaten_by_none_in_both_columns() -> None:
    made = table(a=(1.0, 4.0), b=(2.0, 3.0), c=(2.0, 3.5), d=(3.0, 1.0), e=(3.0, 1.0))
    assert [row.recipe for row in front(made, made.rows, (ALL, FEW))] == ["d", "e", "b", "a"]


def test_points_in_a_heap_have_one_label() -> None:
    places = np.array([[0.0, 0.0], [100.0, 0.0], [3.0, 4.0], [101.0, 1.0], [300.0, 0.0]])
    assert heaps(places) == [(0, "1, 3"), (1, "2, 4"), (4, "5")]


def test_every_point_of_the_trade_off_says_its_name_and_only_the_front_is_numbered() -> None:
    drawn = trade_off(table(a=(1.0, 4.0), b=(2.0, 3.0), c=(2.0, 3.5)))
    assert drawn is not None
    assert sorted(text.split(":")[0] for text in drawn.hover.values()) == ["a", "b", "c"]
    legend = [text.get_text() for text in drawn.figure.axes[0].get_legend().get_texts()]
    assert legend == ["1  b", "2  a"]
