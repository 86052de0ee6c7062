"""A ledger that commit 80772a4 wrote, before the packages had rooms: read, resumed and reported to the same numbers."""

import shutil
from pathlib import Path

import pytest

from in_process import swept
from orchestrator.api import claim_name
from orchestrator.cli.main import main
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.formats import to_csv
from orchestrator.report.sections import Results, sections
from orchestrator.study.spec import Study
from workloads import WORKLOADS

BEFORE = Path(__file__).parents[2] / "fixtures" / "before_rooms"
NUMBERS = BEFORE / "storage" / "before" / "table.csv"
"""Of the numbers nothing may differ; marks and notes say more than they did."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A copy of the study, its data and its storage: the current folder."""
    copied = Path(shutil.copytree(BEFORE, tmp_path / "study"))
    monkeypatch.chdir(copied)
    monkeypatch.setattr("orchestrator.study.cells._DECLARED", {})
    known = dict(WORKLOADS)
    request.addfinalizer(lambda: (WORKLOADS.clear(), WORKLOADS.update(known)))
    return copied


def test_it_is_whole_and_holds_every_planned_trial(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "study.yaml", "--storage", "storage"]) == 0
    assert "8/8 trials in the ledger, 0 failed" in capsys.readouterr().out
    ledger = Ledger("storage")
    assert (len(ledger.read("tune")), len(ledger.read("evaluate"))) == (4, 4)


def test_the_stored_definition_is_understood_as_the_protocol_that_it_began_under(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "before", "--stored", "--storage", "storage"]) == 0
    assert "8/8 trials in the ledger, 0 failed" in capsys.readouterr().out


def test_a_file_that_does_not_say_the_protocol_is_another_study_and_is_told_the_way(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "study.yaml"
    file.write_text(file.read_text("utf-8").replace("protocol: 1", ""), "utf-8")
    assert main(["sweep", "study.yaml", "--storage", "storage"]) == 2
    assert "differs in protocol: 1 there, 2 here. Set these keys as they are there" in capsys.readouterr().err


def test_its_report_has_the_same_numbers_to_the_byte(folder: Path) -> None:
    written = folder / "storage" / "before" / "table.csv"
    written.unlink()
    assert main(["report", "study.yaml", "--storage", "storage"]) == 0
    assert written.read_bytes() == NUMBERS.read_bytes()


def test_a_sweep_may_go_on_and_trains_what_is_missing_under_the_same_ids(folder: Path) -> None:
    study, ledger = Study.load("study.yaml", ["storage=storage"]), Ledger("storage")
    records = folder / "storage" / "ledger"
    lost = [sorted((records / phase).glob("*.parquet"))[0] for phase in ("tune", "evaluate")]
    for path in lost:
        path.unlink()
    claim_name(study, ledger.store, replace=False)
    planner = swept(study)
    assert all(path.is_file() for path in lost)
    assert [len([*records.glob(f"{kind}/*.parquet")]) for kind in ("tune", "evaluate", "predictions")] == [4, 4, 4]
    table = to_csv(Results(study, ledger, sections(study, planner, ledger)).tables)
    assert table.encode() == NUMBERS.read_bytes()
