"""Marks and best sets: what holds of them in worlds without differences and with planted ones."""

from dataclasses import replace

import numpy as np
import pytest

from bench.null_tables import RECIPES, draw, rates
from orchestrator.report.comparisons import Comparison, View, against_base, best_set
from orchestrator.report.intervals import Estimate, units_of


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_a_table_without_differences_is_seldom_marked_and_its_intervals_cover(seeds: int) -> None:
    made = rates(seeds, 60)
    assert made.marked <= 0.07
    assert min(made.coverage.values()) >= 0.93


def test_planted_gains_are_found_with_five_seeds_and_the_best_recipe_stays_in_the_best_set() -> None:
    effects = np.full(RECIPES, -10.0)
    effects[3] = -11.0
    made = rates(5, 40, effects)
    assert made.found >= 0.95
    assert made.best_kept >= 0.95


def test_in_a_null_table_every_recipe_is_in_the_best_set() -> None:
    scores = draw(np.random.default_rng(1), 5, np.zeros(RECIPES), shared=True)
    recipes = ["base", *(f"r{i}" for i in range(RECIPES))]
    assert len(best_set(scores, ("mae", "few"), recipes)) >= RECIPES - 1


def comparison(value: float, by_seed: float = 0.1, p_column: float = 1.0, p_table: float = 1.0) -> Comparison:
    estimate = Estimate(value, by_seed, 0.0, 5)
    return Comparison(
        "r", "base", ("mae", "few"), value, 10.0, 5, 50, estimate, True, 0.02, p_column=p_column, p_table=p_table
    )


def test_better_and_worse_need_a_mark_and_a_direction() -> None:
    assert comparison(-3.0, p_table=0.01, p_column=0.01).verdict == "better"
    assert comparison(3.0, p_table=0.01, p_column=0.01).verdict == "worse"
    assert comparison(-3.0).verdict == "undecided"
    higher = replace(comparison(3.0, p_table=0.01), column=("accuracy", "few"))
    assert higher.verdict == "better"


def test_two_stars_hold_in_the_table_one_in_the_primary_column_and_none_elsewhere() -> None:
    assert comparison(-3.0, p_column=0.001, p_table=0.04).stars == "**"
    assert comparison(-3.0, p_column=0.04, p_table=0.06).stars == "*"
    assert replace(comparison(-3.0, p_column=0.04, p_table=0.06), primary=False).stars == ""


def test_a_certain_difference_within_the_margin_is_equivalent() -> None:
    assert comparison(-0.1, by_seed=0.01, p_column=0.001, p_table=0.001).verdict == "equivalent"
    assert comparison(-0.1, by_seed=0.2).verdict == "undecided"
    ratio = replace(comparison(-0.005, by_seed=0.001), column=("gm", "few"))
    assert ratio.verdict == "equivalent"
    assert ratio.interval is not None
    assert ratio.interval.value == pytest.approx(np.exp(-0.005))


def test_one_seed_gives_a_value_and_no_interval_no_mark_and_no_best() -> None:
    units, _ = units_of(np.zeros(30, dtype=np.int64), None)
    rng = np.random.default_rng(0)
    view = View(units, {"mae": {"l1": {0: rng.random(30)}, "l1 + lds": {0: rng.random(30) - 5}}})
    scores = {"all": view}
    made = against_base(scores, {"l1 + lds": "l1"}, ("mae", "all"), 0.02)["l1 + lds", ("mae", "all")]
    assert made.value < -4
    assert (made.interval, made.stars, made.verdict) == (None, "", "undecided")
    assert best_set(scores, ("mae", "all"), ["l1", "l1 + lds"]) == frozenset()


def test_only_seeds_that_both_have_are_compared() -> None:
    units, _ = units_of(np.zeros(30, dtype=np.int64), None)
    rows = np.ones(30)
    view = View(units, {"mae": {"l1": {0: rows, 1: rows}, "l1 + lds": {1: rows, 2: rows, 3: rows}}})
    made = against_base({"all": view}, {"l1 + lds": "l1"}, ("mae", "all"), 0.02)["l1 + lds", ("mae", "all")]
    assert made.seeds == 1
