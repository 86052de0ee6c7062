"""What a sweep does around its trials: the last look into the ledger, and errors of any size."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builders import record, study
from orchestrator.api import Outcome, confirm
from orchestrator.errors import StorageFailed
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.outputs import write_outputs
from orchestrator.study.cell_plan import REASON_CHARS
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner


def finished(storage: Path, error: str | None = None) -> Outcome:
    """A study whose trials are all in the ledger; with an `error`, all seeds failed."""
    made = study(storage=str(storage), tune={"trials": 1})
    ledger = Ledger(made.storage)
    planner = Planner(made, expand(made), ledger.find)
    while (trial := planner.next()) is not None:
        failed = error is not None and trial.phase == "evaluate"
        outcome = record(trial, 4.0, "failed", error=error) if failed else record(trial, 4.0 + trial.number)
        ledger.commit(outcome, trial.phase)
        planner.finish(trial, outcome)
    return Outcome(made, planner, ledger)


def test_a_sweep_is_complete_only_if_the_ledger_still_holds_every_trial(tmp_path: Path) -> None:
    state = finished(tmp_path / "results")
    confirm(state)
    next((tmp_path / "results" / "ledger").rglob("*.parquet")).unlink()
    with pytest.raises(StorageFailed, match="1 of 6 trials that were trained are no longer in"):
        confirm(state)
    shutil.rmtree(tmp_path / "results")
    with pytest.raises(StorageFailed, match=r"6 of 6 trials .* The same command trains them again"):
        confirm(state)


@pytest.mark.usefixtures("svg_only")
def test_an_error_of_megabytes_is_cut_in_every_output(tmp_path: Path) -> None:
    state = finished(tmp_path, "\x1b[2JRuntimeError: " + "x" * 5_000_000)
    assert all(len(plan.missing()) < REASON_CHARS + 50 for plan in state.planner.plans)
    for name, text in write_outputs(state.study, state.planner, state.ledger).items():
        assert len(text) < 1_000_000, name
        assert "\x1b" not in text, name


@pytest.mark.parametrize("error", ["", "\n\n", " \t"])
def test_an_error_without_words_is_told_as_unknown(tmp_path: Path, error: str) -> None:
    state = finished(tmp_path, error)
    assert [plan.missing() for plan in state.planner.plans] == ["2 failed: unknown"] * 2


@pytest.mark.parametrize(
    "first",
    [pytest.param("", marks=pytest.mark.long), "import orchestrator.report.tables; "],
    ids=["nothing", "a room"],
)
def test_the_functions_of_python_are_there_whatever_was_imported_first(tmp_path: Path, first: str) -> None:
    (tmp_path / "file").touch()
    made = study(storage=str(tmp_path / "file"))
    script = f"{first}from orchestrator import Ledger, Study, report, sweep; "
    script += f"study = Study.of({made.model_dump(mode='json')!r}); "
    script += f"print(sweep.__name__, len(Ledger({str(tmp_path)!r}).read('evaluate')), flush=True); report(study)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False)
    assert done.stdout.split() == ["sweep", "0"]
    told = done.stderr.splitlines()[-1]
    assert told.startswith("orchestrator.errors.BadInput: ") and f"{tmp_path}/file" in told, "a report is made there"
