"""Factorial effects: planted ones come back, also with interactions; the error of tuning holds luck back."""

import numpy as np
import pytest

from orchestrator.report.comparisons import Scores, View
from orchestrator.report.effects import effects, factorial, lenth, share, simple_effects
from orchestrator.report.intervals import units_of
from workloads.recipe import Recipe

METHODS = ("lds", "fds", "ranksim", "distloss")
COLUMN = ("mae", "all")
NAMES = [
    str(Recipe.parse(" + ".join(["l1", *(m for i, m in enumerate(METHODS) if mask >> i & 1)]))) for mask in range(16)
]


def world(effect: dict[frozenset[str], float], luck: float = 0.0, seeds: int = 5, rows: int = 200) -> Scores:
    """Cells whose error is 20 plus the effects of all subsets that they hold, with the luck of each tuning."""
    rng = np.random.default_rng(1)
    units, _ = units_of(np.zeros(rows, dtype=np.int64), None)
    common = rng.normal(0, 3, (seeds, rows))
    sums = {}
    for name in NAMES:
        methods = set(Recipe.parse(name).methods)
        mean = 20 + sum(size for parts, size in effect.items() if parts <= methods) + luck * rng.normal()
        sums[name] = dict(enumerate(mean + common + rng.normal(0, 0.5, (seeds, rows))))
    return {"all": View(units, {"mae": sums})}


def test_every_subset_of_the_methods_is_a_factorial_and_a_hole_makes_it_smaller() -> None:
    found = factorial([*NAMES, "l1 + sqinv"])
    assert found is not None
    methods, cells = found
    assert set(methods) == set(METHODS)
    assert len(cells) == 16
    smaller = factorial([name for name in NAMES if "distloss" not in name or name == "l1 + distloss"])
    assert smaller is not None
    assert set(smaller[0]) == {"lds", "fds", "ranksim"}
    assert factorial(["l1", "l1 + lds", "mse + lds + fds"]) is None


def test_planted_effects_come_back_and_others_are_not_clear() -> None:
    scores = world({frozenset({"lds"}): -6.0, frozenset({"fds"}): -1.0}, luck=0.05)
    factors = factorial(NAMES)
    assert factors is not None
    found = {e.parts: e for e in effects(scores, COLUMN, *factors)}
    assert len(found) == 4 + 6
    assert found["lds",].estimate.value == pytest.approx(-6.0, abs=0.15)
    assert {parts for parts, e in found.items() if e.clear} == {("lds",), ("fds",)}


def test_an_interaction_is_half_of_the_difference_between_simple_effects() -> None:
    planted = {frozenset({"lds"}): -6.0, frozenset({"distloss"}): -4.0, frozenset({"lds", "distloss"}): 8.0}
    scores, factors = world(planted), factorial(NAMES)
    assert factors is not None
    found = {frozenset(e.parts): e for e in effects(scores, COLUMN, *factors)}
    pair = found[frozenset({"lds", "distloss"})]
    assert pair.estimate.value == pytest.approx(4.0, abs=0.1)
    assert pair.clear
    assert found[frozenset({"lds"})].estimate.value == pytest.approx(-2.0, abs=0.1)  # -6 without, +2 with
    simple = dict(simple_effects(scores, pair, *factors))
    assert simple["lds without distloss"].value == pytest.approx(-6.0, abs=0.1)
    assert simple["lds with distloss"].value == pytest.approx(2.0, abs=0.1)


def test_the_luck_of_tuning_is_no_effect() -> None:
    scores, factors = world({}, luck=1.0), factorial(NAMES)
    assert factors is not None
    found = effects(scores, COLUMN, *factors)
    assert sum(e.p <= 0.05 for e in found) > 3  # seeds and rows alone call luck an effect
    assert sum(e.clear for e in found) <= 1


def test_lenths_error_is_that_of_the_effects_that_are_zero() -> None:
    se, df = lenth([0.1, -0.2, 0.15, 9.0, -0.1, 0.05, 0.12])
    assert se == pytest.approx(1.5 * np.median([0.1, 0.2, 0.15, 0.1, 0.05, 0.12]))
    assert df == pytest.approx(7 / 3)


def test_the_share_of_a_gain_has_fiellers_interval() -> None:
    scores = world({frozenset({"lds"}): -6.0, frozenset({"fds"}): -3.0})
    found = share(scores, COLUMN, "l1", "l1 + fds", "l1 + lds")
    assert found is not None
    assert found.value == pytest.approx(0.5, abs=0.02)
    assert found.low < 0.5 < found.high and found.high - found.low < 0.1
    assert share(scores, COLUMN, "l1", "l1 + fds", "l1 + ranksim") is None  # no gain to have a share of


def test_with_one_seed_there_are_no_effects() -> None:
    factors = factorial(NAMES)
    assert factors is not None
    assert effects(world({}, seeds=1), COLUMN, *factors) == []
