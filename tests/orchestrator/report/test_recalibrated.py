"""The verdict on recalibration: what it reaches, and whether it is another without held-out labels."""

from dataclasses import replace

import numpy as np
import pytest

from builders import record, score, study
from orchestrator.report.comparisons import View
from orchestrator.report.intervals import units_of
from orchestrator.report.stats import spread
from orchestrator.report.tables import Row, Table, judged, tables
from orchestrator.report.verdict import verdict
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.cells import expand

BASE = "control: l1, affine on validation"


def table_of(recipes: dict[str, float], controls: dict[str, float]) -> Table:
    """A table with given MAE, three seeds each, that tells differences of a tenth."""
    made = []
    for cell in expand(study(recipes={"also": list(recipes)})):
        plan = CellPlan(cell)
        for number in range(3):
            test = (score(recipes[str(cell.recipe)]),)
            plan.outcomes["evaluate"][number] = record(cell.trial("evaluate", number, {}), 0.0, test=test)
        made.append(plan)
    rng = np.random.default_rng(0)
    sums = {
        name: {n: value + 0.01 * rng.normal() + 0.01 * rng.normal(size=40) for n in range(3)}
        for name, value in (recipes | controls).items()
    }
    (plain,) = tables(made)
    rows = [
        Row(plain.workload, name, 1, {("mae", "all"): spread([value])}, "", "validation labels")
        for name, value in controls.items()
    ]
    units, _ = units_of(np.zeros(40, dtype=np.int64), None)
    return judged(replace(plain, rows=(*plain.rows, *rows)), {"all": View(units, {"mae": sums})}, ("mae", "all"), 0.02)


def about(table: Table) -> list[str]:
    return [line for line in verdict(table) if "validation" in line or "fair" in line]


@pytest.mark.parametrize(
    ("plain", "fair", "told"),
    [
        (1.5, 2.5, "better than `l1 + lds`; with the fair variant, `l1 + affine_oof`, 2.50 in All: worse than it"),
        (2.5, 2.4, "worse than `l1 + lds`; with the fair variant, `l1 + affine_oof`, 2.40 in All: worse than it"),
        (
            2.0,
            2.5,
            "not told apart from `l1 + lds`; with the fair variant, `l1 + affine_oof`, 2.50 in All: worse than it",
        ),
    ],
)
def test_it_says_what_the_line_reaches_and_whether_the_fair_variant_says_the_same(plain, fair, told) -> None:
    (line,) = about(table_of({"l1": 4.0, "l1 + lds": 2.0, "l1 + affine_oof": fair}, {BASE: plain}))
    change = "so the verdict is the same." if plain > 2.2 else "so the verdict changes."
    assert line == f"`l1` with a line fitted on validation reaches {plain:.2f} in All: {told}, {change}"


def test_a_fair_variant_that_is_the_best_recipe_is_told_as_that() -> None:
    (line,) = about(table_of({"l1": 4.0, "l1 + lds": 2.0, "l1 + affine_oof": 1.6}, {BASE: 1.5}))
    assert "better than `l1 + affine_oof`; the fair variant, which uses no held-out label, is that recipe." in line


def test_where_no_fair_variant_was_trained_it_names_the_recipe() -> None:
    (line,) = about(table_of({"l1": 4.0, "l1 + lds": 2.0}, {BASE: 1.5}))
    assert line.endswith(
        "its fair variant, which uses no held-out label, is the recipe `l1 + affine_oof`, without results here."
    )


def test_of_models_with_both_variants_it_says_where_the_two_differ() -> None:
    controls = {
        BASE: 3.0,
        "control: ridge, affine on validation": 1.0,
        "control: ridge, affine out of fold": 1.1,
        "control: boosting, affine on validation": 1.5,
        "control: boosting, affine out of fold": 2.5,
    }
    best, _, same, changed = about(table_of({"l1": 4.0, "l1 + lds": 2.0}, controls))
    assert best.startswith(
        "Without the methods, ridge, affine on validation (fitted to validation labels) reaches 1.00"
    )
    assert best.endswith("better than every recipe.")
    assert same == "The fair variant does not change it for ridge (better than it)."
    assert changed == (
        "The fair variant changes it for boosting (on validation better than it, out of fold worse than it)."
    )


def test_one_seed_says_nothing_of_recalibration() -> None:
    table = table_of({"l1": 4.0, "l1 + lds": 2.0}, {BASE: 1.5})
    assert about(replace(table, against_leader={})) == []
