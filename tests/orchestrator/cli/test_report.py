"""`tailsweep report` and `compare`: views of what is in the ledger, without training."""

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from in_process import told
from orchestrator.cli.main import main
from reported import declared, filled


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study file whose trials are in the storage beside it."""
    folder = tmp_path_factory.mktemp("study")
    recipes = {"also": ["l1", "l1 + lds", "l1 + fds"]}
    state = filled(folder, recipes=recipes)
    tree = {
        **{"study": "tiny", "workloads": [declared(folder)], "recipes": recipes, "train": {"epochs": 2}},
        **{
            "tune": {"trials": 2, "sampler": "random", "rescore": 1},
            "evaluate": {"seeds": 3},
            "storage": state.study.storage,
        },
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def test_a_whole_report_is_written_to_the_storage_and_a_part_is_not(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = file.parent / "results" / "tiny"
    text = told(capsys, "report", file, "--recipe", "l1 + lds", "--metrics", "rmse", "--regions", "30,10")
    assert "RMSE" in text and "l1 + fds" not in text and "many > 30, few < 10" in text
    assert not written.exists()
    assert "Written:" in told(capsys, "report", file, "--out", tmp_path / "out")
    names = {path.name for path in written.iterdir()}
    assert names == {
        *("table.md", "table.csv", "table.tex", "tidy.csv", "tidy.json", "tidy.parquet", "best.yaml", "report.html"),
        "figures",
    }
    figures = [path for path in (written / "figures").iterdir() if path.name != "written.json"]
    drawn = {path.stem for path in figures}
    assert {path.name for path in figures} == {f"{name}.{kind}" for name in drawn for kind in ("svg", "pdf", "png")}
    assert "potassium-error-by-label" in drawn
    there = [path.relative_to(written) for path in written.rglob("*.*") if path.name != "written.json"]
    assert all((tmp_path / "out" / name).read_bytes() == (written / name).read_bytes() for name in there)
    before = (written / "table.md").read_bytes()
    told(capsys, "report", file, "--against", "best", "--format", "md")
    assert (written / "table.md").read_bytes() == before


@pytest.mark.usefixtures("svg_only")
def test_what_is_printed_is_what_is_written(
    file: Path, capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    assert main(["report", str(file), "--out", str(folder), "--format", "md"]) == 0
    for name, kept in (("md", "table.md"), ("csv", "tidy.csv"), ("json", "tidy.json"), ("tex", "table.tex")):
        capsysbinary.readouterr()
        assert main(["report", str(file), "--format", name]) == 0
        assert capsysbinary.readouterr().out.decode() == (folder / kept).read_text()
    assert main(["report", str(file), "--format", "parquet"]) == 0
    rows = pq.read_table(io.BytesIO(capsysbinary.readouterr().out)).to_pylist()
    assert rows == json.loads((folder / "tidy.json").read_text())
    lines = list(csv.DictReader(io.StringIO((folder / "tidy.csv").read_text())))
    assert len(lines) == len(rows)


def test_the_terminal_says_the_verdict_and_the_intervals(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "report", file, "--workload", "potassium")
    assert "Best recipe in MAE Few:" in text and "change in Few" in text
    assert text.count("[-") > 2


def test_two_rows_are_compared_in_every_column_with_interval_p_and_verdict(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = told(capsys, "compare", "l1 + lds", "l1 + fds", "--of", file)
    for column in ("MAE All", "MAE Few", "GM Many"):
        assert column in text
    assert "potassium: l1 + lds against l1 + fds" in text and "p, Holm" in text
    assert any(word in text for word in ("better", "worse", "equivalent"))
    assert "control: ridge" in told(capsys, "compare", "l1 + lds", "control: ridge", "--of", file)
    assert "no row" in told(capsys, "compare", "l1 + lds", "control: rigde", "--of", file, code=2)
    assert "did you mean 'l1 + lds'" in told(capsys, "compare", "l1 + lsd", "l1", "--of", file, code=2)


def test_rows_of_two_studies_are_compared(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = yaml.safe_load(file.read_text())
    warm = {"recipes": tree["recipes"], "train": {"epochs": 2, "lr": 0.01}}
    filled(file.parent, study="warm", storage=str(tmp_path / "b"), **warm)
    other = tmp_path / "warm.yaml"
    other.write_text(yaml.safe_dump({**tree, "study": "warm", **warm}))
    stores = ["--storage", str(file.parent / "results"), "--storage", str(tmp_path / "b")]
    text = told(capsys, "compare", "l1 (tiny)", "l1 (warm)", "--of", file, "--of", other, *stores)
    assert "l1 (tiny) against l1 (warm)" in text
    text = told(capsys, "report", file, other, *stores, "--format", "md")
    assert text.startswith("# tiny + warm") and "| l1 + fds (warm) |" in text
    assert "once for each study" in told(capsys, "report", file, *stores, code=2)
    assert "holds no trial of study" in told(capsys, "report", file, "--storage", tmp_path / "empty", code=2)


def test_a_report_over_three_workloads_has_ranks_and_one_over_fewer_says_why_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    assert "told over at least 3 workloads: this report has 1" in told(capsys, "report", file, "--format", "md")
    mine = [declared(tmp_path, name) for name in ("sodium", "iron", "calcium")]
    tree = {**yaml.safe_load(file.read_text()), "study": "three", "workloads": mine, "storage": f"{tmp_path}/results"}
    filled(tmp_path, study="three", workloads=mine, recipes=tree["recipes"])
    three = tmp_path / "three.yaml"
    three.write_text(yaml.safe_dump(tree))
    text = told(capsys, "report", three, "--workload", "sodium", "--workload", "iron", "--workload", "calcium")
    assert "across workloads" in text and "Friedman" in text and "better than l1" in text
