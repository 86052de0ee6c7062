import csv
import io
from pathlib import Path

import numpy as np

from builders import record, score, study
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.tables import differences, differences_markdown, latex, markdown, tables, to_csv
from orchestrator.study.cells import expand, load_data
from orchestrator.study.planner import CellPlan
from workloads import WORKLOADS


def plans(values: dict[str, list[float]], failed: bool = False) -> list[CellPlan]:
    """Cells with evaluate records of given test MAE."""
    made = []
    for found in expand(study(recipes={"also": list(values)})):
        plan = CellPlan(found)
        for number, value in enumerate(values[str(found.recipe)]):
            trial = found.trial("evaluate", number, {})
            test = (score(value), score(value / 2, metric="gm"), score(None, "zero", count=0))
            plan.outcomes["evaluate"][number] = record(trial, value, test=test)
        if failed:
            plan.outcomes["evaluate"][9] = record(found.trial("evaluate", 9, {}), 0.0, "failed")
        made.append(plan)
    return made


def test_a_row_is_mean_and_deviation_over_seeds_with_the_best_bold() -> None:
    (table,) = tables(plans({"l1": [4.0, 6.0], "l1 + lds": [3.0, 5.0]}))
    lines = markdown(table).splitlines()
    assert lines[0].startswith("| Recipe | Seeds | MAE All | MAE Many |")
    assert lines[2].startswith("| l1 | 2 | 5.00 ± 1.41 | – |")
    assert lines[3].startswith("| l1 + lds | 2 | **4.00** ± 1.41 | – |")


def test_a_region_without_samples_anywhere_has_no_column_unless_it_is_a_shot_region() -> None:
    (table,) = tables(plans({"l1": [4.0]}))
    assert {region for _, region in table.columns} == {"all", "many", "medium", "few"}


def test_a_recipe_without_results_is_shown_with_its_reason() -> None:
    (table,) = tables(plans({"l1": [4.0], "l1 + lds": []}, failed=True))
    text = markdown(table)
    assert "| l1 + lds | 0 | – |" in text
    assert "`l1 + lds`: 1 failed: Diverged: the training loss became nan" in text


def test_csv_has_one_line_per_recipe_with_unrounded_means_and_deviations() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(tables(plans({"l1": [1.0, 2.0, 4.0], "l1 + lds": [3.0]}))))))
    assert list(rows[0])[:5] == ["workload", "recipe", "seeds", "mae/all/mean", "mae/all/sd"]
    assert float(rows[0]["mae/all/mean"]) == 7 / 3
    assert float(rows[0]["mae/all/sd"]) == np.std([1.0, 2.0, 4.0], ddof=1)
    assert (rows[1]["seeds"], rows[1]["mae/all/mean"], rows[1]["mae/all/sd"], rows[1]["mae/few/mean"]) == (
        "1",
        "3.0",
        "",
        "",
    )


def test_latex_escapes_names_and_marks_the_best() -> None:
    (table,) = tables(plans({"focal_l1": [2.0, 3.0], "l1": [4.0, 5.0]}))
    text = latex(table)
    assert r"focal\_l1 & $\mathbf{2.50} \pm 0.71$ & --" in text
    assert text.count(r"\\") == 4


def test_differences_are_paired_by_seed_and_row(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    made = plans({"l1": [1.0, 1.0], "l1 + lds": [1.0, 1.0, 1.0]})
    data = load_data(WORKLOADS["nhanes-sbp"], None, "results")
    y = data.test.y.numpy()
    rng = np.random.default_rng(0)
    for number in range(3):
        noise = rng.normal(0, 5, len(y)).astype(np.float32)
        for plan, shift in zip(made, (0.0, -1.0), strict=True):
            if number in plan.outcomes["evaluate"]:
                trial_id = plan.outcomes["evaluate"][number].trial_id
                ledger.commit_predictions(trial_id, y, y + np.abs(noise) + np.float32(5 + shift))
    (found,) = differences(made, ledger, data)
    assert (found.recipe, found.base) == ("l1 + lds", "l1")
    for region in ("all", "many", "medium", "few"):
        assert abs(found.by_region[region].value + 1.0) < 1e-4
    assert "| l1 + lds | **-1.00 [-1.00, -1.00]** |" in differences_markdown([found])
