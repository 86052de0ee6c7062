"""`tailsweep status`: lines for people, one object for programs, and again and again until the study is done."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.cli.main import main
from orchestrator.cli.terminal import standing, wide
from orchestrator.engine.status import Status
from reported import filled


def asked(folder: Path, capsys: pytest.CaptureFixture[str], *args: str, failed: bool = False) -> tuple[int, str]:
    state = filled(folder, fails=(lambda trial: trial.phase == "evaluate") if failed else lambda trial: False)
    file = folder / "study.json"
    file.write_text(state.study.model_dump_json())
    capsys.readouterr()
    return main(["status", str(file), *args]), capsys.readouterr().out


def test_watching_ends_with_the_study_and_has_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = asked(tmp_path, capsys, "--watch")
    lines = said.splitlines()
    assert code == 0 and lines[0] == lines[-1] and ", 0 missing; storage" in lines[0]


def test_programs_get_one_object_and_the_exit_code_says_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = asked(tmp_path, capsys, "--json", failed=True)
    made = Status.model_validate(json.loads(said))
    assert code == 3 and made.failed > 0 and not made.missing
    assert "failed: Diverged" in made.cells[0].reason


def test_a_table_of_many_cells_fits_a_terminal_and_off_one_nothing_is_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Status.model_validate(json.loads(asked(tmp_path, capsys, "--json")[1]))
    cell = made.cells[0].model_copy(update={"cell": "a cell with a name that is " + "very " * 30 + "long"})
    many = made.model_copy(update={"cells": (cell,) * 100})
    assert len(standing(many, 20).rows) == 15
    sink = io.StringIO()
    wide(Console(file=sink, width=80)).print(standing(many, 20))
    assert cell.cell in sink.getvalue() and "…" not in sink.getvalue()
