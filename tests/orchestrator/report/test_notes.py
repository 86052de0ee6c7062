"""What is said under a table when something of the ledger cannot be read."""

from pathlib import Path

from orchestrator.api import outcome
from swept import made_up, sweep

SMALL = {"recipes": {"also": ["l1", "l1 + lds"]}, "tune": {"trials": 1}}


def test_predictions_that_cannot_be_read_are_told_under_the_table(tmp_path: Path) -> None:
    study = made_up(tmp_path, **SMALL)
    sweep(study)
    before = outcome(study)
    [whole] = before.sections
    assert not [line for line in whole.notes if "cannot be read" in line]
    plan = next(plan for plan in before.planner.plans if plan.row == "l1 + lds")
    damaged, gone = plan.records("evaluate")[:2]
    folder = Path(study.storage) / "ledger/predictions"
    (folder / f"{gone.trial_id}.{gone.predictions}.parquet").unlink()
    path = folder / f"{damaged.trial_id}.{damaged.predictions}.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 16
    path.write_bytes(data)
    [section] = outcome(study).sections
    [line] = [line for line in section.notes if "cannot be read" in line]
    assert "`l1 + lds` (2 of 3 seeds)" in line
    assert "ledger verify" in line


def test_predictions_of_validation_rows_that_cannot_be_read_are_told_where_controls_are_made_of_them(
    tmp_path: Path,
) -> None:
    study = made_up(tmp_path, **SMALL)
    sweep(study)
    [whole] = outcome(study).sections
    assert not [line for line in whole.notes if "cannot be read" in line]
    plan = next(plan for plan in outcome(study).planner.plans if plan.row == "l1")
    damaged, gone = plan.records("evaluate")[:2]
    folder = Path(study.storage) / "ledger/validation"
    (folder / f"{gone.trial_id}.{gone.predictions}.parquet").unlink()
    path = folder / f"{damaged.trial_id}.{damaged.predictions}.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    [section] = outcome(study).sections
    [line] = [line for line in section.notes if "cannot be read" in line]
    assert "validation rows cannot be read of `l1` (2 of 3 seeds)" in line
    seeds = {control.name: len(control.predictions) for control in section.controls}
    assert seeds["l1, affine on validation"] == 1


def test_a_seed_of_the_base_without_test_predictions_is_not_said_to_lack_those_of_validation(tmp_path: Path) -> None:
    study = made_up(tmp_path, **SMALL)
    sweep(study)
    plan = next(plan for plan in outcome(study).planner.plans if plan.row == "l1")
    gone = plan.records("evaluate")[0]
    (Path(study.storage) / f"ledger/predictions/{gone.trial_id}.{gone.predictions}.parquet").unlink()
    [section] = outcome(study).sections
    [line] = [line for line in section.notes if "cannot be read" in line]
    assert line.startswith("Predictions cannot be read of `l1` (1 of 3 seeds)")
    seeds = {control.name: len(control.predictions) for control in section.controls}
    assert seeds["l1, affine on validation"] == 2
