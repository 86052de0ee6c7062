"""What a study needs to detect a change, checked by the power that the report's own test reaches in made worlds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builders import record, study
from orchestrator.cli.main import main
from orchestrator.errors import BadInput
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.comparisons import ALPHA
from orchestrator.report.detection import detections, kind_of, share_of
from orchestrator.report.intervals import estimate, units_of
from orchestrator.report.variance import Components, components, within
from orchestrator.study.cells import expand, load_data
from orchestrator.study.planner import Planner
from workloads import WORKLOADS
from workloads.labels import Floats

WORLD = Components(seed=0.6, row=9.0, rest=4.0, seeds=5, rows=400)
"""Of a change of about one: seeds matter most."""


def power(size: float, seeds: int, rows: int, worlds: int = 600) -> float:
    """Share of studies in which the report's test, alone at 5 %, finds a change of a size."""
    rng = np.random.default_rng(seeds)
    units, _ = units_of(np.zeros(rows, dtype=np.int64), None)
    found = 0
    for _ in range(worlds):
        d = size + WORLD.seed**0.5 * rng.normal(size=(seeds, 1)) + WORLD.row**0.5 * rng.normal(size=(1, rows))
        made = estimate(d + WORLD.rest**0.5 * rng.normal(size=(seeds, rows)), units)
        assert made is not None
        found += made.p() <= ALPHA
    return found / worlds


@pytest.mark.parametrize("seeds", [5, 8, 16])
def test_the_change_that_so_many_seeds_detect_is_found_in_eighty_studies_of_a_hundred(seeds: int) -> None:
    assert power(WORLD.detectable(ALPHA, seeds), seeds, WORLD.rows) == pytest.approx(0.8, abs=0.06)


def test_the_seeds_that_are_printed_reach_the_power_and_three_fewer_do_not() -> None:
    seeds = WORLD.seeds_for(0.85, ALPHA)
    assert seeds is not None and seeds > 6
    assert power(0.85, seeds, WORLD.rows) > 0.76
    assert power(0.85, seeds - 3, WORLD.rows) < 0.76


def test_the_rows_that_are_printed_reach_the_power() -> None:
    assert WORLD.seeds_for(0.4, ALPHA) is None
    rows = WORLD.rows_for(0.55, ALPHA, 25)
    assert rows is not None
    assert power(0.55, 25, rows, 200) == pytest.approx(0.8, abs=0.1)
    assert WORLD.rows_for(0.5, ALPHA, 5) is None, "with five seeds no number of rows does"


def test_what_sets_regions_apart_is_no_error_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    stratum = np.repeat([0, 1], 100)
    noise = rng.normal(size=(6, 200))
    plain, apart = (components(within(noise + 50.0 * s * stratum, stratum)) for s in (0, 1))
    assert plain is not None and apart is not None
    assert apart.row == pytest.approx(plain.row) and apart.seed == pytest.approx(plain.seed)


@pytest.mark.parametrize(
    ("recipe", "kind"),
    [
        ("l1 + lds", "re-weighted"),
        ("l1 + sqinv + fds + rrt", "re-weighted"),
        ("l1 + fds", "fds"),
        ("l1 + fds + distloss", "several methods"),
        ("l1 + rrt", "rrt"),
    ],
)
def test_the_kind_of_a_recipe_is_what_moves_its_predictions(recipe: str, kind: str) -> None:
    assert kind_of(recipe) == kind


@pytest.mark.parametrize(("text", "share"), [("2%", 0.02), ("2 %", 0.02), ("0.05", 0.05), ("12.5%", 0.125)])
def test_a_share_is_written_in_percent_or_as_a_number(text: str, share: float) -> None:
    assert share_of(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["2", "0", "-1%", "100%", "two", "", "nan", "1e400%"])
def test_another_share_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--detect takes a share of the base's score"):
        share_of(text)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Planner, Ledger]:
    """A study in a ledger: with `lds` the change differs from row to row, with `fds` from seed to seed."""
    folder = tmp_path_factory.mktemp("trained")
    made = study(storage=str(folder), recipes={"also": ["l1", "l1 + lds", "l1 + fds"]}, evaluate={"seeds": 4})
    ledger = Ledger(str(folder))
    y = load_data(WORKLOADS["nhanes-sbp"], None, str(folder)).test.y.numpy().astype(np.float64)
    rng = np.random.default_rng(1)
    rough = rng.normal(size=len(y))
    planner = Planner(made, expand(made), ledger.find)
    while (trial := planner.next()) is not None:
        outcome = record(trial, 1.0)
        if trial.phase == "evaluate":
            pred: Floats = y + 30.0
            if "lds" in trial.cell.recipe.methods:
                pred = pred + 6 * rough
            if "fds" in trial.cell.recipe.methods:
                pred = pred + rng.normal()
            outcome = replace(outcome, predictions=ledger.commit_predictions(trial.id, y, pred, 0))
        ledger.commit(outcome, trial.phase)
        planner.finish(trial, outcome)
    return planner, ledger


def test_a_ledger_says_what_to_buy_for_each_kind_of_recipe(trained: tuple[Planner, Ledger]) -> None:
    planner, ledger = trained
    (found,) = detections(planner.study, planner, ledger, 0.02)
    assert (found.metric, found.source, found.unknown) == ("mae", "the ledger", ())
    by = {(need.region, need.kind): need for need in found.needs}
    few, weighted = by["few", "fds"], by["few", "re-weighted"]
    assert few.base == pytest.approx(30.0) and few.size == pytest.approx(0.6) and few.among == 2
    assert few.seeds is not None and few.seeds > 10, "seeds of fds are what is missing"
    assert weighted.seeds is None and weighted.rows_needed is not None and weighted.rows_needed > weighted.rows


def test_the_command_prints_a_table_and_json(
    trained: tuple[Planner, Ledger], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planner, _ = trained
    file = tmp_path / "tiny.json"
    file.write_text(planner.study.model_dump_json(), "utf-8")
    assert main(["plan", str(file), "--detect", "2%"]) == 0
    said = capsys.readouterr().out
    assert "not with these test rows" in said and "to detect a change of 2 % of the base's mae" in said
    assert main(["plan", str(file), "--detect", "2%", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["command"] == "tailsweep plan tiny --detect 2% --json"
    assert {row["kind"] for row in tree["detect"][0]["components"]} == {"re-weighted", "fds"}


def test_a_workload_of_which_nothing_is_known_says_so(tmp_path: Path) -> None:
    made = study(storage=str(tmp_path), workloads=["nhanes-bmi"])
    planner = Planner(made, expand(made), Ledger(str(tmp_path)).find)
    with pytest.raises(BadInput, match=r"nhanes-bmi: nothing is known of the variance of mae.*--seeds 3"):
        detections(made, planner, Ledger(str(tmp_path)), 0.02)


def test_before_there_are_results_a_pilot_study_of_the_workload_speaks(tmp_path: Path) -> None:
    made = study(storage=str(tmp_path), recipes={"also": ["l1", "l1 + lds", "l1 + smogn"]}, evaluate={"seeds": 5})
    ledger = Ledger(str(tmp_path))
    (found,) = detections(made, Planner(made, expand(made), ledger.find), ledger, 0.1)
    assert found.source == "a pilot study (quickstart, 5 seeds)" and found.unknown == ("smogn",)
    needs = {need.region: need for need in found.needs}
    assert needs.keys() == {"all", "many", "medium", "few"} and {need.kind for need in found.needs} == {"re-weighted"}
    assert needs["all"].seeds is not None and needs["all"].seeds <= 5, "a tenth of the base's error is easy in all"


def test_recipes_without_their_base_are_refused(tmp_path: Path) -> None:
    made = study(storage=str(tmp_path), recipes={"also": ["l1 + lds"]})
    planner = Planner(made, expand(made), Ledger(str(tmp_path)).find)
    with pytest.raises(BadInput, match="compares recipes with their objective alone"):
        detections(made, planner, Ledger(str(tmp_path)), 0.02)
