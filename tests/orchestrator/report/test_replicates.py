"""The report of a study that repeats its tuning, and what stands under a table of its budget."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest

from builders import record, study
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.budgets import budget, costs, steps
from orchestrator.report.one_row import one_row
from orchestrator.report.outputs import document
from orchestrator.report.sections import Results, sections
from orchestrator.report.tidy import tidy, tidy_csv
from orchestrator.study.cells import Trial, expand, load_data
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from workloads import WORKLOADS


@pytest.fixture(autouse=True)
def few_controls(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Controls that take no time, kept where no other test looks for them."""
    monkeypatch.setattr("orchestrator.report.controls.MODELS", {})


def trained(folder: Path, error: Callable[[Trial], float], **changes: Any) -> tuple[Study, Planner, Ledger]:
    """A study whose predictions are all off by `error` of their trial."""
    made = study(storage=str(folder), **changes)
    ledger = Ledger(str(folder))
    y = load_data(WORKLOADS["nhanes-sbp"], None, str(folder)).test.y.numpy().astype(np.float64)
    planner = Planner(made, expand(made), ledger.find)
    while (trial := planner.next()) is not None:
        off = error(trial)
        outcome = record(trial, off, wall_s=2.0)
        if trial.phase == "evaluate":
            outcome = replace(outcome, predictions=ledger.commit_predictions(trial.id, y, y + off, 0))
        ledger.commit(outcome, trial.phase)
        planner.finish(trial, outcome)
    return made, planner, ledger


def off(trial: Trial) -> float:
    """10, by replicate 1 more, by seed 0.1 more; with `lds` 2 less."""
    plain = 10.0 + trial.cell.replicate + 0.1 * (trial.number % 2)
    return plain - (2.0 if "lds" in trial.cell.recipe.methods else 0.0)


def test_a_row_is_mean_and_deviation_over_replicates_each_the_mean_of_its_seeds(tmp_path: Path) -> None:
    made, planner, ledger = trained(tmp_path, off, tune={"trials": 2, "replicates": 3})
    (section,) = sections(made, planner, ledger)
    base, lds = section.table.recipes
    assert (base.recipe, base.seeds, lds.seeds) == ("l1", 3, 3)
    of_replicates = [10.05, 11.05, 12.05]
    score = base.scores["mae", "all"]
    assert (score.mean, score.sd) == (pytest.approx(mean(of_replicates)), pytest.approx(stdev(of_replicates)))
    change = section.table.comparisons["l1 + lds", ("mae", "all")]
    assert change.seeds == 3 and change.value == pytest.approx(-2.0)
    assert any(
        "Tuned 3 times with other seeds: intervals are over replicates and cover tuning" in n for n in section.notes
    )
    assert any("replicates, each the mean of 2 seeds" in note for note in section.notes)
    text = document(Results(made, ledger, [section]))
    assert "Tuning is in the interval" in text and "paired replicates" in text
    assert "| l1 | 3 |" in text and "| l1 + lds | 3 |" in text


def test_the_interval_over_replicates_has_one_degree_less_than_there_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    luck = rng.normal(size=(2, 4))

    def error(trial: Trial) -> float:
        return 10.0 + float(luck[len(trial.cell.recipe.methods), trial.cell.replicate])

    made, planner, ledger = trained(tmp_path, error, tune={"trials": 1, "replicates": 4}, evaluate={"seeds": 3})
    (section,) = sections(made, planner, ledger)
    found = section.table.comparisons["l1 + lds", ("mae", "all")].estimate
    assert found is not None and found.seeds == 4
    assert found.by_seed == pytest.approx(np.std(luck[1] - luck[0], ddof=1) / 2)


def test_what_stands_under_a_table_says_steps_trials_epochs_and_luck(tmp_path: Path) -> None:
    made, planner, ledger = trained(tmp_path, off, tune={"trials": 6, "rescore": 2})
    (section,) = sections(made, planner, ledger)
    told = " ".join(section.notes)
    assert (
        "Budget of every recipe: 6 settings (1 default + 3 random + 2 by TPE), the best 2 again with 2 seeds each, 2 "
        "seeds of the selected one: 12 trials of 2 epochs. Used: 12 trials, 24 epochs. Early stopping none."
    ) in told
    assert "Tuned once: the luck of tuning is in no interval." in told
    assert section.costs == "48 device seconds, of a recipe 24."
    assert [row.spent.device_s for row in section.table.recipes if row.spent] == [24.0, 24.0]
    lines = tidy_csv(tidy([section.table])).splitlines()
    assert lines[0].endswith(",trials,epochs,device_s") and lines[1].endswith(",12,24,24.0")
    assert lines[-1].endswith(",,,"), "a control needs no budget"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tune": {"trials": 1}}, "1 setting (1 default), 2 seeds of the selected one"),
        ({"tune": {"trials": 30, "sampler": "random", "rescore": 1}}, "30 settings (1 default + 29 random), 2 seeds"),
        ({"protocol": 1, "tune": {"trials": 12}}, "12 settings (1 default + 9 random + 2 by TPE), 2 seeds"),
        ({"workloads": ["agedb-dir"]}, "3 settings (1 published + 2 random), the best 3 again with 2 seeds each"),
        ({"tune": {"trials": 3, "replicates": 4}}, "selected one; all that in 4 replicates"),
        (
            {"recipes": {"also": ["l1"]}, "space": {"train.lr": 0.1, "train.weight_decay": 0.0}},
            "1 setting, nothing to search, 2 seeds of the selected one",
        ),
    ],
)
def test_the_steps_of_a_budget_are_told_as_they_are(changes: dict[str, Any], words: str) -> None:
    from orchestrator.study.cells import sketch

    made = study(**changes)
    planner = Planner(made, sketch(made), lambda trial_id, phase: None)
    assert words in steps(made, planner, planner.plans)
    assert "Used: 0 trials, 0 epochs" in budget(made, planner, planner.plans) and costs(planner.plans) == ""


def test_replicates_of_one_study_are_one_row_without_its_name(tmp_path: Path) -> None:
    made, planner, ledger = trained(tmp_path, off, tune={"trials": 1, "replicates": 2})
    (section,) = sections(made, planner, ledger)
    assert [row.recipe for row in section.table.recipes] == ["l1", "l1 + lds"]


def test_the_study_of_one_row_is_the_first_replicate_whose_trials_are_all_there(tmp_path: Path) -> None:
    made, planner, ledger = trained(tmp_path, off, tune={"trials": 4, "replicates": 2})
    again = Study.of({**one_row(made, planner.plans[0], "row"), "storage": made.storage})
    of_row = Planner(again, expand(again), ledger.find)
    assert (of_row.next(), [plan.cell.name for plan in of_row.plans]) == (None, ["nhanes-sbp/l1"])
