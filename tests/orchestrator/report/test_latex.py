"""Tables for an article: they compile, and nothing of them is wider than its column."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.report.latex import latex
from orchestrator.report.sections import sections
from orchestrator.report.tables import Table
from reported import filled

ARTICLE = r"""\documentclass[twocolumn]{article}
\usepackage{booktabs,tabularx}
\input{table.tex}
\begin{document}
%s
\end{document}
"""
RECIPES = ["l1", "l1 + lds", "l1 + lds + fds + ranksim + distloss", "focal_l1 + sqinv"]
NAMES = {"focal_l1 + sqinv": "Focal & re-weighted", "control: training median": "Median"}


def table_of(folder: Path, recipes: list[str] = RECIPES, seeds: int = 3) -> Table:
    state = filled(folder, recipes={"also": recipes}, evaluate={"seeds": seeds}, tune={"trials": 1})
    (section,) = sections(state.study, state.planner, state.ledger)
    return section.table


def names_in(text: str) -> list[str]:
    return re.findall(r"csname tailsweep:([^#\\]+)\\endcsname\{", text)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="needs TeX: apt-get install texlive-latex-recommended")
@pytest.mark.parametrize("beside", [5, 3])
def test_every_table_compiles_and_fits_a_column_or_the_width_of_a_page(
    beside: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.report.latex.BESIDE", beside)
    text = latex([table_of(tmp_path)], NAMES)
    (tmp_path / "table.tex").write_text(text, encoding="utf-8")
    names = names_in(text)
    assert names == [
        *("potassium/mae", "potassium/mae/changes", "potassium/gm", "potassium/gm/changes", "potassium/primary")
    ]
    narrow = [name for name in names if not name.endswith("/changes")]
    floats = [rf"\begin{{table}}\caption{{one}}\tailsweep{{{name}}}\end{{table}}" for name in narrow]
    floats += [rf"\begin{{table*}}\caption{{two}}\tailsweep{{{name}}}\end{{table*}}" for name in names]
    (tmp_path / "article.tex").write_text(ARTICLE % "\n".join(floats), encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "article.log").read_text(errors="replace")
    assert "Overfull" not in log, re.findall("Overfull.*\n.*", log)
    assert "undefined" not in log
    assert "Output written on article.pdf" in log


def test_an_alias_is_text_and_a_recipe_may_break_behind_every_plus(tmp_path: Path) -> None:
    text = latex([table_of(tmp_path)], NAMES)
    assert r"Focal \& re-weighted & $" in text and "focal" not in text
    assert r"l1+\allowbreak lds+\allowbreak fds" in text
    assert "Median & $" in text and "control:" not in text


def test_numbers_are_those_of_the_table_with_what_is_best_in_bold(tmp_path: Path) -> None:
    table = table_of(tmp_path)
    lines = {line.partition(" & ")[0]: line for line in latex([table]).splitlines() if line.endswith(r"\\")}
    scores = next(row for row in table.rows if row.recipe == "l1").scores["mae", "all"]
    body = latex([table]).partition("potassium/mae\\endcsname{")[2]
    assert f"${scores.mean:.2f}_{{{scores.sd:.2f}}}$" in body
    best = next(row for row in table.rows if row.recipe in table.best["mae", "few"]).scores["mae", "few"]
    assert rf"$\mathbf{{{best.mean:.2f}}}_{{" in body
    made = table.comparisons["l1 + lds", table.primary]
    assert rf"{made.value:+.2f}" in lines[r"l1+\allowbreak lds"]


def test_a_table_of_one_seed_has_no_intervals_and_no_deviations_of_recipes(tmp_path: Path) -> None:
    text = latex([table_of(tmp_path, ["l1", "l1 + lds"], seeds=1)])
    assert "_{" not in text.partition("potassium/mae\\endcsname{")[2].partition("changes\\endcsname")[0]
    assert r"\downarrow" not in text and r"\uparrow" not in text
