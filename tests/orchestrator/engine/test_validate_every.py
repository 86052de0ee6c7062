"""Trials with epochs that are not validated: what is kept of them, and who reads them."""

import pytest

from builders import study
from in_process import swept
from orchestrator.report.figures.learning import learning_curves as draw
from orchestrator.report.search.learning import learning_curves
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.lineage import curve_of
from orchestrator.tracking._scores import curve

RULE = "val/mae/all"
VALIDATED = [2, 4]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> CellPlan:
    """A cell whose trials have five epochs, of which the third and the last are validated."""
    storage = tmp_path_factory.mktemp("seldom")
    made = study(
        storage=str(storage),
        recipes={"also": ["l1"]},
        tune={"trials": 2, "rescore": 1},
        evaluate={"seeds": 2},
        train={"epochs": 5, "validate_every": 3},
    )
    return swept(made).plans[0]


def test_records_have_every_epoch_and_keep_a_validated_one(plan: CellPlan) -> None:
    for record in [*plan.records("tune"), *plan.records("evaluate")]:
        assert (record.status, record.epochs_run, len(record.curve)) == ("completed", 5, 5)
        assert [row.epoch for row in record.curve if row.val] == VALIDATED
        assert record.kept_epoch in VALIDATED
        assert record.score(RULE) == record.curve[record.kept_epoch].score(RULE)


def test_trackers_and_samplers_are_sent_the_scores_that_there_are(plan: CellPlan) -> None:
    (record, *_) = plan.searched
    sent = dict(curve(record))
    assert list(sent) == [0, 1, 2, 3, 4] and all("train/loss" in values for values in sent.values())
    assert [epoch for epoch, values in sent.items() if len(values) > 1] == VALIDATED
    assert [epoch for epoch, _ in curve_of(record, RULE)] == VALIDATED


def test_the_learning_curve_of_a_report_is_a_line_through_the_validated_epochs(plan: CellPlan) -> None:
    found = learning_curves(plan, RULE)
    assert found is not None
    scores, losses = draw({"l1": found}, RULE).figure.axes
    assert list(scores.lines[0].get_xdata()) == VALIDATED
    assert list(losses.lines[0].get_xdata()) == [0, 1, 2, 3, 4]
