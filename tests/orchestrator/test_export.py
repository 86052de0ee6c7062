"""What is exported is what the study found, and its best settings run again as they are."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from builders import study
from finished import finished
from in_process import swept
from orchestrator.api import outcome
from orchestrator.cli.export import FORMATS
from orchestrator.cli.main import main
from orchestrator.export import EXPORTS
from orchestrator.ledger.ledger import Ledger
from orchestrator.study.spec import Study
from own_table import of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished study whose records lie in its ledger."""
    made = study(storage=str(tmp_path_factory.mktemp("storage")), first={"lds.scheme": "inverse"})
    ledger = Ledger(made.storage)
    for plan in finished(made).plans:
        for phase in ("tune", "evaluate"):
            for record in plan.records(phase):
                ledger.commit(record, phase)
    return made


@pytest.fixture(scope="module")
def file(made: Study, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("study") / "study.json"
    path.write_text(made.model_dump_json(), encoding="utf-8")
    return str(path)


def test_the_command_line_knows_every_format() -> None:
    assert tuple(EXPORTS) == FORMATS


def test_the_best_setting_of_a_cell_is_a_study_that_trains_the_very_same_trials(
    made: Study, file: str, tmp_path: Path
) -> None:
    assert main(["export", file, "--to", str(tmp_path), "--format", "best"]) == 0
    files = sorted((tmp_path / "best").iterdir())
    assert [path.name for path in files] == ["nhanes-sbp-l1-lds.yaml", "nhanes-sbp-l1.yaml"]
    theirs = {str(plan.cell.recipe): plan for plan in outcome(made, write=False).planner.plans}
    for path in files:
        again = Study.load(path, [f"storage={made.storage}"], environ={})
        (plan,) = outcome(again, write=False).planner.plans
        first = theirs[str(plan.cell.recipe)]
        assert not plan.cell.axes
        assert [trial.id for trial in plan.trials["evaluate"]] == [trial.id for trial in first.trials["evaluate"]]


def test_tidy_data_are_the_same_in_every_format(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    folder = tmp_path_factory.mktemp("own")
    small = of(folder, evaluate={"seeds": 1})
    swept(small)
    file = str(folder / "study.json")
    Path(file).write_text(small.model_dump_json(), encoding="utf-8")
    args = ["--format", "csv", "--format", "parquet", "--format", "json"]
    (tmp_path / "tidy.csv").write_text("an earlier export", encoding="utf-8")
    assert main(["export", file, "--to", str(tmp_path), *args]) == 0
    rows = list(csv.DictReader((tmp_path / "tidy.csv").read_text("utf-8").splitlines()))
    table = pq.read_table(tmp_path / "tidy.parquet")
    assert [row["recipe"] for row in rows] == table["recipe"].to_pylist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tidy.csv", "tidy.json", "tidy.parquet"]


def test_trackers_write_into_the_folder(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", file, "--to", str(tmp_path), "--format", "optuna", "--format", "tensorboard"]) == 0
    assert f"{tmp_path}/optuna.db: 6 trials" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["optuna.db", "tensorboard"]


def test_a_study_without_trials_is_one_message_and_nothing_is_written(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["export", file, "--to", str(tmp_path / "out"), "--storage", str(tmp_path / "empty")]
    assert main(args) == 2
    assert "there must be something to export" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
