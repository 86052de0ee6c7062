import csv
import io
from pathlib import Path

import numpy as np
import pytest

from builders import record, score, study
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.comparisons import View
from orchestrator.report.formats import change, changes_markdown, markdown, to_csv
from orchestrator.report.intervals import units_of
from orchestrator.report.scores import NATURAL, scores
from orchestrator.report.tables import Table, judged, primary_column, tables
from orchestrator.report.verdict import verdict
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.cells import expand, load_data
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


def judged_by(values: dict[str, list[float]], noise: float = 0.1) -> Table:
    """A table of recipes with given MAE by seed, each seed's rows scattered a little."""
    made = plans(values)
    units, _ = units_of(np.zeros(40, dtype=np.int64), None)
    rng = np.random.default_rng(0)
    sums = {r: {n: v + noise * rng.normal(size=40) for n, v in enumerate(seeds)} for r, seeds in values.items()}
    (table,) = tables(made)
    return judged(table, {"all": View(units, {"mae": sums})}, ("mae", "all"), 0.02)


def test_a_row_is_mean_and_deviation_over_seeds_and_bold_is_what_cannot_be_told_from_the_best() -> None:
    table = judged_by({"l1": [4.0, 4.1, 3.9], "l1 + lds": [2.0, 2.1, 1.9], "l1 + fds": [2.0, 2.1, 1.9]})
    lines = markdown(table).splitlines()
    assert lines[0].startswith("| Recipe | Seeds | MAE All | MAE Many |")
    assert lines[2].startswith("| l1 | 3 | 4.00 ± 0.10 | – |")
    assert lines[3].startswith("| l1 + lds | 3 | **2.00** ± 0.10 | – |")
    assert lines[4].startswith("| l1 + fds | 3 | **2.00** ± 0.10 | – |")


def test_a_table_of_one_seed_has_nothing_bold() -> None:
    assert "**" not in markdown(judged_by({"l1": [4.0], "l1 + lds": [2.0]}))


def test_help_harm_and_nothing_to_speak_of_look_different() -> None:
    table = judged_by(
        {
            "l1": [4.0, 4.1, 3.9],
            "l1 + lds": [2.0, 2.1, 1.9],
            "l1 + fds": [6.0, 6.1, 5.9],
            "l1 + ranksim": [4.0, 4.1, 3.9],
        },
        noise=0.01,
    )
    better, worse, equal = changes_markdown(table, "mae").splitlines()[2:]
    assert better.startswith("| l1 + lds | **-2.00 [-2.0") and r"▼\*\***" in better
    assert worse.startswith("| l1 + fds | **+2.00 [+1.9") and r"▲\*\***" in worse
    assert "**" not in equal and "≈" in equal


def test_the_verdict_says_who_leads_what_is_alike_and_how_many_beat_their_base() -> None:
    table = judged_by({"l1": [4.0, 4.1, 3.9], "l1 + lds": [2.0, 2.1, 1.9], "l1 + fds": [2.0, 2.1, 1.9]})
    first, second = verdict(table)
    assert first.startswith("Best recipe in MAE All: `l1 + ") and "as good as the best, too: `l1 + " in first
    assert second == "Of 2 recipes, against `l1`: 2 better."
    alone, _ = verdict(judged_by({"l1": [4.0, 4.1, 3.9], "l1 + lds": [2.0, 2.1, 1.9]}))
    assert alone == "Best recipe in MAE All: `l1 + lds` with 2.00."
    (silent,) = verdict(judged_by({"l1": [4.0], "l1 + lds": [2.0]}))
    assert "Nothing is marked" in silent


def test_the_verdict_says_what_reweighting_explains_before_it_counts() -> None:
    table = judged_by({"l1": [4.0, 4.1, 3.9], "l1 + lds": [2.0, 2.1, 1.9]})
    assert verdict(table, ["Half of it."])[1:] == ["Half of it.", "Of 1 recipes, against `l1`: 1 better."]


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


def test_differences_are_paired_by_seed_and_row_and_natural_weighs_bins_as_they_occur(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    made = plans({"l1": [1.0, 1.0], "l1 + lds": [1.0, 1.0, 1.0]})
    workload = WORKLOADS["nhanes-sbp"]
    data = load_data(workload, None, "results")
    y = data.test.y.numpy()
    rng = np.random.default_rng(0)
    kept: dict[int, np.ndarray] = {}
    for number in range(3):
        noise = rng.normal(0, 5, len(y)).astype(np.float32)
        for plan, shift in zip(made, (0.0, -1.0), strict=True):
            if number in plan.outcomes["evaluate"]:
                trial_id = plan.outcomes["evaluate"][number].trial_id
                pred = y + np.abs(noise) + np.float32(5 + shift)
                ledger.commit_predictions(trial_id, y, pred)
                kept[number] = np.abs(pred.astype(np.float64) - y)
    found = scores(made, ledger, data)
    primary = primary_column(WORKLOADS["nhanes-sbp"], "val/mae/all", None, found)
    assert primary == ("mae", "few")
    (plain,) = tables(made)
    table = judged(plain, found, primary, 0.02)
    for region in ("all", NATURAL, "many", "medium", "few"):
        difference = table.comparisons["l1 + lds", ("mae", region)]
        assert abs(difference.value + 1.0) < 1e-4
        assert difference.seeds == 2
    assert change(table, table.comparisons["l1 + lds", primary]).startswith("-1.00 [-1.00, -1.00] ▼")
    bins = workload.grid.bin(y)
    share = sum(workload.grid.counts(split.y.numpy()) for split in (data.train, data.val, data.test))
    errors = kept[2]
    tested = list(np.unique(bins))
    natural = sum(share[b] * errors[bins == b].mean() for b in tested) / sum(share[b] for b in tested)
    (row,) = [row for row in table.rows if row.recipe == "l1 + lds"]
    view = found[NATURAL]
    assert view.sums["mae"]["l1 + lds"][2].sum() / view.units.rows.sum() == pytest.approx(natural)
    assert row.scores["mae", NATURAL].n == 3
