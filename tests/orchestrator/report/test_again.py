"""What the page prints of a study makes the same study, and its commands the same rows."""

import shlex
from pathlib import Path

import pytest

from builders import study
from orchestrator.cli.main import parser
from orchestrator.cli.study import study_of
from orchestrator.report.again import command, definition, file_name
from orchestrator.study.allowance import tries
from orchestrator.study.cells import sketch
from orchestrator.study.spec import Study, shipped
from swept import made_up


@pytest.mark.parametrize("name", shipped())
def test_the_printed_definition_is_the_study(name: str) -> None:
    written = Study.load(name, environ={})
    assert Study.read(definition(written), "the page", environ={}) == written


@pytest.mark.parametrize(
    "text", ["yes", "null", "~", "010", "1e-3", "0x1F", ".inf", "2026-01-01", "a: b", "- x", "#", "ä", " x "]
)
def test_text_that_looks_like_something_else_stays_text(text: str, tmp_path: Path) -> None:
    (own,) = made_up(tmp_path).workloads
    written = study(workloads=[{**own.model_dump(), "title": text}])
    (read,) = Study.read(definition(written), "the page", environ={}).workloads
    assert read.title == text


@pytest.mark.parametrize("blank", [None, 0.0, 255.0])
def test_a_null_that_is_no_default_is_written(blank: float | None) -> None:
    maps = {"name": "rooms", "type": "maps", "file": "a.csv", "target": "map", "bin_width": 1, "low": 0, "high": 9}
    written = study(workloads=[{**maps, "blank": blank}])
    assert Study.read(definition(written), "the page", environ={}) == written


def test_every_command_plans_the_very_row_it_stands_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own,) = made_up(tmp_path).workloads
    space = {"lds.sigma": [1, 2], "ranksim.weight": {"low": 0.003, "high": 1}, "train.lr": 0.01}
    several = made_up(
        tmp_path,
        workloads=["nhanes-sbp", own.model_dump()],
        recipes={"objectives": ["l1", "mse"], "combine": ["lds", "ranksim"], "plans": ["once", "rrt"]},
        space=space,
        first={"lds.scheme": "inverse", "train.weight_decay": 0.01},
        train={"epochs": 3, "levels": {"batch_size": 32}},
        report={"names": {"l1 + lds": "Smoothed", "control: ridge": "Ridge"}},
        storage="/somewhere/else",
    )
    monkeypatch.chdir(tmp_path)  # where the study's file is saved, and the table lies
    for written in (Study.load("quickstart", environ={}), several):
        Path(file_name(written)).write_text(definition(written))
        names = set()
        for row, cell in enumerate(sketch(written), start=1):
            _, *words = shlex.split(command(written, cell, row))
            made = study_of(parser().parse_args(words))
            assert sketch(made) == [cell]
            assert (made.tune, made.evaluate) == (written.tune, written.evaluate)
            assert made.report.names.items() <= written.report.names.items()
            assert made.report.model_copy(update={"names": written.report.names}) == written.report
            names.add(made.study)
        assert len(names) == len(sketch(written)), "a storage has one definition of a name"


def test_a_row_of_a_study_with_unequal_budgets_keeps_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = study(recipes={"also": ["l1", "l1 + fds"]}, tune={"trials": 3, "budget": "per_axis"})
    monkeypatch.chdir(tmp_path)
    Path(file_name(written)).write_text(definition(written))
    cells = sketch(written)
    for row, cell in enumerate(cells, start=1):
        made = study_of(parser().parse_args(shlex.split(command(written, cell, row))[1:]))
        assert tries(made, sketch(made))[cell.name] == tries(written, cells)[cell.name]


def test_the_definition_has_no_place_of_this_machine(tmp_path: Path) -> None:
    assert str(tmp_path) not in definition(made_up(tmp_path))
