"""A figure with its words, and its files: the same bytes each time, readable by colour-blind readers and in print."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
"""Of Okabe and Ito: the four that are told apart from each other, from white and from black by all readers."""
INK: Final = "#000000"
"""Text, axes and what is neutral; on the page it takes the colour of the text around it."""
REGION_COLOURS: Final = {"many": BLUE, "medium": GREEN, "few": VERMILION, "zero": PURPLE, "all": INK}
BACKGROUND: Final = "background"
"""Name of the white sheet, which the page leaves out."""
WIDTH: Final = 5.8
"""Of a figure, in inches: its text can be read on a phone, and in a column of a paper."""
PIXELS_PER_INCH: Final = 150
STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "tailsweep",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
"""Text of SVG is drawn as paths and fonts are embedded in PDF: a figure looks alike everywhere."""
UNDATED: Final[dict[str, dict[str, Any]]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Drawing:
    """A figure: `name` is that of its files, `title` what it is, `text` what it shows for those who do not see it.

    `hover` has what a part of the figure says when pointed at, by the part's `gid`.
    """

    name: str
    title: str
    text: str
    figure: Figure
    hover: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def svg(self) -> bytes:
        """The figure as SVG; drawn once, for the page and as a file."""
        return self.file("svg")

    def file(self, format: str) -> bytes:
        """The figure as `svg`, `pdf` or `png`."""
        sink = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            layout = self.figure.get_layout_engine()
            if layout is not None:  # places are found once, not before every format
                self.figure.set_dpi(PIXELS_PER_INCH)  # of a PNG, where words are at their widest
                layout.execute(self.figure)
                self.figure.set_layout_engine(None)
            for legend in (axes.get_legend() for axes in self.figure.axes):
                if legend is not None:
                    legend.set_frame_on(False)  # its ground is white, and the page's may be dark
            self.figure.savefig(sink, format=format, dpi=PIXELS_PER_INCH, metadata=UNDATED[format])
        return sink.getvalue()


def panels(width: float, height: float, columns: int) -> tuple[Figure, list[Axes]]:
    """An empty figure of a size in inches with axes side by side."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.patch.set_gid(BACKGROUND)
        return figure, [figure.add_subplot(1, columns, place + 1) for place in range(columns)]


def grid(width: float, height: float, count: int, columns: int) -> tuple[Figure, list[Axes]]:
    """An empty figure of so many axes, each of a size in inches, row by row."""
    across = min(count, columns) or 1
    down = -(-count // across) or 1
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width * across, height * down), layout="constrained")
        figure.patch.set_gid(BACKGROUND)
        return figure, [figure.add_subplot(down, across, place + 1) for place in range(count)]


def stacked(width: float, heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """An empty figure with axes one below the other that share the horizontal one."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, sum(heights)), layout="constrained")
        figure.patch.set_gid(BACKGROUND)
        ratios = {"height_ratios": list(heights)}
        axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw=ratios)
        return figure, list(axes[:, 0])


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of a size in inches with one pair of axes."""
    figure, (axes,) = panels(width, height, 1)
    return figure, axes


def lines(axes: Axes, axis: Literal["both", "x", "y"] = "both") -> None:
    """Faint lines behind what is drawn."""
    axes.grid(axis=axis, color=INK, alpha=0.25, linewidth=0.5)
