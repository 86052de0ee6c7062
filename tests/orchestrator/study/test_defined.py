"""`select_by` and `train.monitor` are defined on the validation rows, or the study ends at `plan`."""

from pathlib import Path
from typing import Any

import pytest

from builders import record, score, study
from orchestrator.api import Outcome
from orchestrator.errors import BadInput
from orchestrator.ledger.ledger import Ledger
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from workloads import WORKLOADS


def own(folder: Path, val: list[float], rule: str, **changes: Any) -> Study:
    """A study of a table whose validation labels are given."""
    train = [f"{n},{n % 10},train" for n in range(60)]
    rows = train + [f"{n},{label},val" for n, label in enumerate(val)] + [f"{n},{n % 10},test" for n in range(20)]
    (folder / "data.csv").write_text("\n".join(["x,y,part", *rows]))
    table = {"name": "own", "type": "table", "file": "data.csv", "target": "y", "split": "part", "bin_width": 1}
    tree = {"workloads": [{**table, **changes.pop("table", {})}], "data": str(folder), "tune": {"select_by": rule}}
    return study(**{**tree, "recipes": {"also": ["l1"]}, **changes})


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.study.cells.WORKLOADS", dict(WORKLOADS))
    monkeypatch.setattr("orchestrator.study.cells._DECLARED", {})


@pytest.mark.parametrize(
    ("val", "rule", "message"),
    [
        ([0.0, 3.0, 5.0], "val/absrel/all", "absrel needs labels above 0, and the lowest is 0"),
        ([0.0, 3.0, 5.0], "val/log10/all", "log10 needs labels above 0"),
        ([0.0, 3.0, 5.0], "val/delta1/all", "delta1 needs labels above 0"),
        ([4.0] * 9, "val/pearson/all", "pearson needs labels that differ, and all 9 are 4"),
        ([4.0] * 9, "val/spearman/all", "spearman needs labels that differ"),
        ([3.0], "val/pearson/all", "pearson needs labels that differ"),
        ([3.0, 5.0], "val/mae/many", "own has none in many"),
        ([3.0, 5.0], "val/mae/zero", "own has none in zero"),
    ],
)
def test_a_rule_that_is_undefined_on_the_validation_rows_ends_at_plan(
    tmp_path: Path, val: list[float], rule: str, message: str
) -> None:
    with pytest.raises(BadInput, match=message) as refused:
        expand(own(tmp_path, val, rule))
    assert f"got {rule!r}" in str(refused.value)
    assert "tune.select_by" in str(refused.value)


@pytest.mark.parametrize("monitor", ["val/absrel/all", ["val/mae/all", "val/absrel/all"]])
def test_the_rule_that_keeps_an_epoch_is_held_to_the_same(tmp_path: Path, monitor: object) -> None:
    with pytest.raises(BadInput, match=r"train\.monitor must be defined on the validation rows: got 'val/absrel/all'"):
        expand(own(tmp_path, [0.0, 3.0], "val/mae/all", space={"train.monitor": monitor}))


def test_a_rule_that_is_defined_is_planned_also_where_it_needs_labels_above_0(tmp_path: Path) -> None:
    assert expand(own(tmp_path, [1.0, 3.0], "val/absrel/all"))
    assert expand(own(tmp_path, [1.0, 3.0], "val/spearman/all"))


def test_a_rule_that_no_trial_gave_a_value_ends_with_its_reason_and_is_not_complete(tmp_path: Path) -> None:
    made = own(tmp_path, [1.0, 3.0], "val/pearson/all", tune={"trials": 2, "select_by": "val/pearson/all"})
    ledger = Ledger(str(tmp_path / "storage"))
    planner = Planner(made, expand(made), ledger.find)
    while (trial := planner.next()) is not None:
        planner.finish(trial, record(trial, 1.0, val=(score(1.0), score(None, metric="pearson"))))
    (plan,) = planner.plans
    assert planner.done
    assert plan.missing() == (
        "nothing is selected: val/pearson/all is not defined in any of the 2 completed trials, "
        "whose predictions are all equal there"
    )
    assert not Outcome(made, planner, ledger).whole  # exit code 3
