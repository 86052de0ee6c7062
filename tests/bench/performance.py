"""The page of performance: a table of what was measured, the machine, and a chart of cost against size."""

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from matplotlib.ticker import NullLocator

from bench.engine import Cost
from orchestrator.report.figures.drawing import BLUE, INK, VERMILION, Drawing, lines, panels

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "performance.md"
CHART: Final = DOCS / "images" / "performance.svg"
MARKED: Final = re.compile(r"(<!-- measured -->\n)(.*)(<!-- end of measured -->\n)", re.DOTALL)
GROUP: Final = re.compile(r"^### (\w+)\n", re.MULTILINE)


def machine() -> str:
    """What it was measured on, and how busy that was."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "pyarrow", "numpy"))
    return (
        f"{len(os.sched_getaffinity(0))} cores of {cpu[1] if cpu else platform.machine()}, "
        f"{int(memory[1]) / 1e6 if memory else 0:.0f} GB; Python {platform.python_version()}, {packages}; "
        f"load {os.getloadavg()[0]:.1f} at the end"
    )


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Rows as Markdown; those that are indented compare with the one above."""
    cells = (f"| {name.strip() if name[:1] != ' ' else f'– {name.strip()}'} | {value} |" for name, value in rows)
    return "\n".join(["| what | measured |", "|:--|:--|", *(line.replace("\n", " ") for line in cells)]) + "\n"


def chart(costs: Sequence[Cost]) -> Drawing:
    """Milliseconds of a trial and gigabytes of the driver by the number of trials."""
    figure, (left, right) = panels(8.0, 3.2, 2)
    sizes = [cost.trials for cost in costs]
    for label, values, colour, look in (
        ("Tailsweep, beyond training", [1000 * cost.engine_s for cost in costs], BLUE, "o-"),
        ("a Tune trainable that does nothing", [1000 * cost.tune_s for cost in costs], VERMILION, "s--"),
        ("the same without Tune's files", [1000 * cost.bare_s for cost in costs], INK, "v:"),
    ):
        left.plot(sizes, values, look, color=colour, label=label)
    right.plot(sizes, [cost.gigabytes for cost in costs], "o-", color=BLUE)
    for axes, title in ((left, "milliseconds a trial"), (right, "GB of the driver, at most")):
        axes.set_xscale("log")
        axes.set_xlabel("trials")
        axes.set_ylabel(title)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
        lines(axes)
    left.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize=8, frameon=False)
    return Drawing("performance", "Cost by size", "Time of a trial and memory of the driver by trials.", figure)


def with_group(page: str, name: str, text: str, order: Sequence[str]) -> str:
    """The page with what was measured of a group in the place of what it had; the other groups keep theirs."""
    before, start, measured, end, after = MARKED.split(page)
    _, *split = GROUP.split(measured)
    groups = {**dict(zip(split[::2], split[1::2], strict=True)), name: f"\n{text}\n"}
    sections = "".join(f"### {each}\n{groups[each]}" for each in order if each in groups)
    return "".join((before, start, f"\n{sections}", end, after))


def write(name: str, rows: Sequence[tuple[str, str]], order: Sequence[str], args: str) -> None:
    """Put what was measured of a group with these arguments onto the page."""
    text = f"`make bench ARGS='{args}'` on {machine()}.\n\n{table(rows)}"
    PAGE.write_text(with_group(PAGE.read_text("utf-8"), name, text, order), encoding="utf-8")


def draw(costs: Sequence[Cost]) -> None:
    """Draw the chart anew."""
    CHART.write_bytes(chart(costs).svg)
