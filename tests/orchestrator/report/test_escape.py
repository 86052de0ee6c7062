"""Names, titles, units and errors of others do nothing where they are shown."""

import io
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from orchestrator.api import outcome
from orchestrator.cli.terminal import show
from orchestrator.errors import BadInput
from orchestrator.report.escape import LONGEST, csv_text, figure_text, line, markdown_text, tex_text
from orchestrator.report.outputs import write_outputs
from orchestrator.study.spec import Study

HOSTILE = [
    "<script>alert(1)</script>",
    "![x](http://a/b)",
    "[bold]x[/bold]",
    "a|b",
    "`c`",
    "\x1b[2J",
    "cost ($\\frac$)",
]


@pytest.mark.parametrize("text", ["l1 + lds + fds", "cpu (x86_64)", "many > 100, few < 20 [1, 2]", "2 mmHg – ±"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert line(text) == markdown_text(text) == csv_text(text) == figure_text(text) == text


def test_control_characters_are_shown_and_long_text_is_cut() -> None:
    assert line("a\x1b[2Jb\r\nc\u202e\x00") == r"a\x1b[2Jb\r c\u202e\x00"
    assert len(line("x" * 5_000_000)) == LONGEST


def test_each_format_has_its_own_dangers() -> None:
    assert markdown_text("<img src=x> [a](b) c|d `e`") == r"&lt;img src=x> [a]\(b) c\|d 'e'"
    assert tex_text(r"\input{x} 5% a_b $1$ #&~^") == (
        r"\textbackslash{}input\{x\} 5\% a\_b \$1\$ \#\&\textasciitilde{}\textasciicircum{}"
    )
    assert [csv_text(text)[0] for text in ("=1+1", "+1", "-1", "@x")] == ["'"] * 4


def test_a_figure_of_a_title_with_dollars_is_drawn() -> None:
    figure = Figure()
    figure.add_subplot().set_xlabel(figure_text("cost ($\\frac$) \\$ $"))
    figure.savefig(io.StringIO(), format="svg")


@pytest.mark.usefixtures("svg_only")
def test_a_declared_data_set_with_a_hostile_title_and_unit_gets_its_outputs(tmp_path: Path) -> None:
    from rich.console import Console

    (tmp_path / "own.csv").write_text("x,y\n" + "".join(f"{i % 7},{i % 10}\n" for i in range(80)))
    own = {"name": "own", "type": "table", "file": str(tmp_path / "own.csv"), "target": "y", "bin_width": 1}
    tree = {"study": "s", "recipes": {"also": ["l1"]}, "storage": str(tmp_path / "out")}
    drawn = 0
    for text in HOSTILE:
        try:
            study = Study.of({**tree, "workloads": [{**own, "title": text, "unit": text}]})
        except BadInput:
            continue
        state = outcome(study)
        files = write_outputs(study, state.planner, state.ledger)
        sink = io.StringIO()
        show(state.results, Console(file=sink, width=200))
        for content in (*files.values(), sink.getvalue()):
            assert "\x1b" not in content.replace("\x1b[1m", "").replace("\x1b[0m", "")
        assert "<script>alert" not in files["report.html"]
        assert "<script>" not in files["table.md"]
        assert "![x](http" not in files["table.md"]
        drawn += 1
    assert drawn >= 3, "most of these are titles that a data set may have"
