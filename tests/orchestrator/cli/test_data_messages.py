"""Custom files on the command line: one message and exit code 2 before any training, or a note."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from workloads import WORKLOADS

ROWS = [f"{row},{row % 5}" for row in range(30)]
STUDY = """
study: s
workloads: [{name: mine, type: table, file: data.csv, target: y, bin_width: WIDTH}]
recipes: {objectives: [l1]}
tune: {trials: 1}
evaluate: {seeds: 1}
"""
BAD = {
    "two columns of one name": ("x,y,x\n" + "\n".join(f"{row},1" for row in ROWS), "2 columns are called 'x'"),
    "latin-1": ("größe,y\n" + "\n".join(ROWS), "it must be UTF-8: line 1 is not"),
    "no rows": ("x,y\n", "has no rows"),
    "infinite": ("x,y\n" + "\n".join(["inf,1", *ROWS]), "row 1: x is inf"),
    "a date": ("x,y\n" + "\n".join(f"{row},2020-01-01" for row in range(30)), "column 'y' must hold numbers"),
    "far away": ("x,y\n" + "\n".join([*ROWS, "1,5e9"]), "bin_width 1 makes 5,000,000,000 bins"),
    "an escape": ("\x1b[31mx,z\n" + "\n".join(ROWS), "column 'y' is missing; the file has \\x1b[31mx, z"),
}


@pytest.fixture(autouse=True)
def _no_data_set_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("orchestrator.study.cells._DECLARED", {})
    known = dict(WORKLOADS)
    yield
    WORKLOADS.clear()
    WORKLOADS.update(known)


def study(folder: Path, text: str, width: str = "1", code: str = "utf-8") -> str:
    (folder / "data.csv").write_text(text + "\n", encoding=code)
    path = folder / "study.yaml"
    path.write_text(STUDY.replace("WIDTH", width))
    return str(path)


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_is_one_message_and_exit_code_2(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text, said = BAD[name]
    path = study(tmp_path, text, code="latin-1" if name == "latin-1" else "utf-8")
    for command in (["data", "check", "mine", "--study", path], ["plan", path, "--storage", "results"]):
        assert main(command) == 2
        out, err = capsys.readouterr()
        assert said in out + err and "data.csv" in out + err and "\x1b" not in out + err
        assert len((out + err).strip().splitlines()) == 1


def test_what_is_left_out_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{row},{'?' if row == 4 else row * row % 29},{row % 5}" for row in range(30)]
    path = study(tmp_path, "\n".join([",hp,y", *lines]))
    for command in (["data", "check", "mine", "--study", path], ["plan", path, "--storage", "results"]):
        assert main(command) == 0
        out = capsys.readouterr().out
        assert "column 'hp': ? counts as a gap" in out and "is an index or has no name, and is no input" in out


def test_the_smallest_label_at_an_edge_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for smallest in (1.7, 3.4, 3.9, 6.8):
        rows = [f"{row % 7},{smallest + row % 5 / 10:.1f}" for row in range(30)]
        path = study(tmp_path, "\n".join(["x,y", *rows]), "0.1")
        assert main(["data", "check", "mine", "--study", path]) == 0


def test_a_cache_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    monkeypatch.setenv("TAILSWEEP_CACHE", os.devnull + "/x")
    monkeypatch.chdir(tmp_path)
    for row in range(6):
        Image.new("L", (8, 8), row).save(tmp_path / f"{row}.png")
    path = study(tmp_path, "file,y\n" + "\n".join(f"{row}.png,{row % 2}" for row in range(6)))
    Path(path).write_text(Path(path).read_text().replace("type: table", "type: images"))
    for command in (["data", "check", "mine", "--study", path], ["plan", path, "--storage", "results"]):
        assert main(command) == 2
        out, err = capsys.readouterr()
        assert "set TAILSWEEP_CACHE to a folder on this machine that can be" in out + err
