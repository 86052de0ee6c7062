"""A page is made of whatever a storage has, says what is missing, and has the same bytes from wherever it lies."""

import re
import shutil
from pathlib import Path

import pytest

from orchestrator.api import outcome
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.outputs import write_outputs
from orchestrator.report.page.assemble import OF_A_WORKLOAD, partial
from orchestrator.report.page.assemble import page as draw
from orchestrator.storage.store import open_store
from orchestrator.study.spec import Study
from swept import made_up, sweep

HOSTILE = "Diverged: <img src=x onerror=alert(1)> \x1b[2J"


def page(study: Study) -> str:
    """The page of a study from its storage."""
    state = outcome(study)
    return draw(state.results).html


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose storage has the study whole; others there share its trials and controls."""
    folder = tmp_path_factory.mktemp("shared")
    study = made_up(folder)
    sweep(study)
    assert outcome(study).sections
    return folder


@pytest.fixture
def apart(shared: Path, tmp_path: Path) -> Path:
    """A folder whose storage has no trial; what is fitted to the data alone is there."""
    shutil.copytree(shared / "storage" / "controls", tmp_path / "storage" / "controls")
    return tmp_path


def test_a_whole_study_is_not_called_partial_and_names_no_place_of_this_machine(shared: Path) -> None:
    text = page(made_up(shared))
    assert 'class="partial"' not in text and "(partial)" not in text
    assert "No trial failed." in text
    assert "MAE Few, high tail" not in text, "all few-shot labels of this table are high"
    assert "weighted by the relevance of its label, which grows from 0 at the training median" in text
    assert str(shared) not in text
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', text) == []
    assert text.index("Verdict") < text.index("Error by label") < text.index("Scores") < text.index("Trade-off")


def test_a_partial_study_has_a_marked_page_with_what_failed_and_why(apart: Path) -> None:
    study = made_up(apart)
    sweep(
        study,
        instead=lambda trial: {"status": "failed", "error": HOSTILE} if str(trial.cell.recipe) == "l1 + fds" else {},
    )
    text = page(study)
    assert "tiny (partial) · Tailsweep" in text
    assert "24 of 30 trials are done, 3 failed. 1 of 5 rows have no results." in text
    assert text.count("&lt;img src=x") >= 3 and "<img" not in text and "\x1b" not in text
    assert "Tuning was not given alike: from 0 to 6 epochs were used." in text


def test_a_cell_that_searches_nothing_is_whole_with_the_one_setting_that_it_has(apart: Path) -> None:
    study = made_up(apart, train={"epochs": 2, "lr": 1e-3, "weight_decay": 0.0}, recipes={"also": ["l1", "l1 + sqinv"]})
    sweep(study)
    assert not partial(outcome(study).results)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"evaluate": {"seeds": 1}, "report": {"primary": "mae/all"}}, "Nothing is marked: one seed"),
        ({"recipes": {"also": ["l1"]}}, "Best recipe in MAE Few: <code>l1</code>"),
        (
            {"recipes": {"also": ["l1 + lds", "mse + fds"]}},
            "Not compared, since l1 and mse without methods is not in the study: l1 + lds, mse + fds.",
        ),
    ],
    ids=["one seed", "nothing but the base", "no base"],
)
def test_a_study_that_says_little_still_has_a_page(shared: Path, changes: dict[str, object], told: str) -> None:
    study = made_up(shared, study="other", **changes)
    sweep(study)
    text = page(study)
    assert "Verdict" in text and "Error by label" in text and "Make a row again" in text
    assert told in text
    assert f"Best recipe in MAE {'All' if 'report' in changes else 'Few'}" in text


def test_regions_without_rows_and_labels_that_all_are_rare_are_told(tmp_path: Path) -> None:
    (own,) = made_up(tmp_path).workloads
    rare = own.model_dump() | {"many": 9000, "few": 8000}
    study = made_up(tmp_path, workloads=[rare], recipes={"also": ["l1", "l1 + lds"]}, tune={"trials": 2})
    sweep(study)
    text = page(study)
    assert "No test rows: many, medium." in text
    assert "Error by label" in text and "Trade-off" in text


def test_before_the_first_result_there_is_a_page_without_numbers(apart: Path) -> None:
    text = page(made_up(apart))
    assert "0 of 30 trials are done. 5 of 5 rows have no results." in text
    assert "Verdict" not in text and "Labels" in text


def test_without_predictions_the_scores_stay(apart: Path) -> None:
    study = made_up(apart, recipes={"also": ["l1", "l1 + lds"]})
    sweep(study)
    shutil.rmtree(apart / "storage" / "ledger" / "predictions")
    results = outcome(study).results
    parts = [part.heading for made in OF_A_WORKLOAD if (part := made(results, results.sections[0])) is not None]
    assert "Scores" in parts and "Calibration" not in parts and "Error by label" not in parts


def test_another_storage_with_the_same_trials_gives_the_same_bytes(shared: Path, tmp_path: Path) -> None:
    study = made_up(shared, recipes={"also": ["l1", "l1 + lds"]})
    shutil.copytree(shared / "storage", tmp_path / "storage")
    other = study.model_copy(update={"storage": str(tmp_path / "storage")})
    made = []
    for one in (study, other):
        state = outcome(one)
        made.append(write_outputs(one, state.planner, state.ledger))
        for phase in ("tune", "evaluate"):
            Ledger(other.storage).compact(phase)
    assert made[0] == made[1]
    ours, theirs = (open_store(one.storage) for one in (study, other))
    figures = ours.keys("tiny/figures/")
    assert len(figures) >= 12 and {Path(name).suffix for name in figures} == {".svg", ".pdf", ".png", ".json"}
    assert all(ours.get(name) == theirs.get(name) for name in figures)
