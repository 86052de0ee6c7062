"""Further scores: SERA and the two tails of the few-shot region."""

from pathlib import Path

import numpy as np
import pytest

from builders import record, score, study
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.controls import Control
from orchestrator.report.formats import markdown
from orchestrator.report.scores import every_prediction, of_table, scored, units_by_number
from orchestrator.report.tables import judged, tables, with_controls
from orchestrator.report.tails import of_tails, tail_errors, tails
from orchestrator.report.tidy import tidy
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.cells import expand, load_data
from workloads import WORKLOADS
from workloads.labels import REGIONS
from workloads.relevance import relevance

WORKLOAD = WORKLOADS["nhanes-sbp"]


def test_the_tails_share_the_few_shot_rows_by_the_side_of_the_median() -> None:
    data = load_data(WORKLOAD, None, "results")
    y, found = data.test.y.numpy(), tails(WORKLOAD, data)
    few = np.flatnonzero(WORKLOAD.regions(data, data.test) == REGIONS.index("few"))
    assert sorted(np.concatenate(list(found.values()))) == list(few)
    median = np.median(data.train.y.numpy())
    assert y[found["few/low"]].max() < median < y[found["few/high"]].min()


def test_further_scores_are_in_tidy_data_with_their_changes_and_in_no_table(tmp_path: Path) -> None:
    data = load_data(WORKLOAD, None, "results")
    y = data.test.y.numpy().astype(np.float64)
    ledger, made = Ledger(str(tmp_path)), []
    for cell in expand(study(recipes={"also": ["l1", "l1 + lds"]})):
        plan = CellPlan(cell)
        for number in range(3):
            trial = cell.trial("evaluate", number, {})
            plan.outcomes["evaluate"][number] = record(trial, 1.0, test=(score(1.0), score(1.0, "few")))
            shift = (5.0 if str(cell.recipe) == "l1" else 4.0) * np.where(y > 120, -1, 2)
            noise = np.random.default_rng(number).normal(0, 0.1, len(y))
            ledger.commit_predictions(trial.id, y, y + shift + noise)
        made.append(plan)
    simple = [Control("training median", {None: np.full(len(y), 116.0)}, "training labels")]
    every = every_prediction(made, ledger, data, simple)
    known, further = scored(every, [of_table(WORKLOAD, data), of_tails(WORKLOAD, data)], units_by_number(made))
    (plain,) = tables(made)
    table = judged(with_controls(plain, simple, data), known, ("mae", "few"), 0.02, further)
    bare = judged(with_controls(plain, simple, data), known, ("mae", "few"), 0.02)
    assert markdown(table) == markdown(bare) and table.comparisons == bare.comparisons

    base, ours, control = tail_errors(table)
    assert (base.recipe, ours.recipe, control.recipe) == ("l1", "l1 + lds", "control: training median")
    assert (base.low.mean, base.high.mean) == pytest.approx((10.0, 5.0), abs=0.1)
    assert (ours.low.mean, ours.high.mean) == pytest.approx((8.0, 4.0), abs=0.1)

    lines = {(r["recipe"], r["metric"], r["region"]): r for r in tidy([table]).to_pylist()}
    phi = relevance(data.train.y.numpy())
    area = float((phi(y) * (116.0 - y) ** 2).sum())
    assert float(lines["control: training median", "sera", "all"]["mean"]) == pytest.approx(area)
    line = lines["l1 + lds", "mae", "few/low"]
    assert float(line["change"]) == pytest.approx(-2.0, abs=0.1) and line["verdict"] == "better"
    assert int(line["rows"]) == len(tails(WORKLOAD, data)["few/low"])
    assert float(lines["l1 + lds", "sera", "all"]["change"]) < 0


def test_classes_have_no_further_scores() -> None:
    data = load_data(WORKLOADS["digits-lt"], None, "results")
    assert of_tails(WORKLOADS["digits-lt"], data).regions == {}
