"""Ranks and probabilities over workloads, against brute force and published examples."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from orchestrator.report.across import Across, across, critical_difference, probability_of_improvement, wins

runs = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=5)


def made(recipes: dict[str, float], workloads: int = 4, seeds: int = 3) -> dict[str, dict[str, list[float]]]:
    rng = np.random.default_rng(1)
    return {
        f"w{w}": {r: [level + rng.normal() for _ in range(seeds)] for r, level in recipes.items()}
        for w in range(workloads)
    }


@given(runs, runs)
def test_wins_are_mann_whitneys_u(ours: list[float], theirs: list[float]) -> None:
    brute = np.mean([1.0 if x < y else 0.5 if x == y else 0.0 for x, y in product(ours, theirs)])
    assert wins(ours, theirs).mean() == pytest.approx(brute)
    u = mannwhitneyu(theirs, ours, alternative="greater").statistic  # ours have the smaller error
    assert wins(ours, theirs).sum() == pytest.approx(u)


@settings(max_examples=20)
@given(st.lists(st.tuples(runs, runs), min_size=3, max_size=4))
def test_a_probability_of_improvement_and_its_opposite_sum_to_one(pairs: list[tuple[list[float], list[float]]]) -> None:
    there = probability_of_improvement(pairs)
    back = probability_of_improvement([(b, a) for a, b in pairs])
    assert there.value + back.value == pytest.approx(1.0)
    assert 0 <= there.low <= there.high <= 1
    assert probability_of_improvement(pairs) == there, "the bootstrap has a fixed seed"


def test_nothing_is_said_below_three_workloads_or_two_recipes() -> None:
    assert across(made({"l1": 1.0, "lds": 0.0}, workloads=2), "l1") == (
        "Ranks and probabilities of improvement are told over at least 3 workloads: this report has 2."
    )
    assert "two recipes with results in every workload" in str(across(made({"l1": 1.0}), "l1"))


def test_the_critical_difference_is_that_of_demsars_example() -> None:
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_ranks_are_means_over_workloads_and_ties_share_theirs() -> None:
    same = {"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [9.0, 9.0]}
    found = across({"w": same, "x": same, "y": {**same, "a": [0.0, 0.0]}}, "c")
    assert isinstance(found, Across)
    assert found.ranks == {"a": pytest.approx(4 / 3), "b": pytest.approx(5 / 3), "c": 3.0}
    assert set(found.improvement) == {"a", "b"} and found.improvement["a"].value == 1.0
    assert found.p is not None and found.critical is not None


def test_recipes_that_a_workload_lacks_are_left_out() -> None:
    found = made({"l1": 1.0, "lds": 0.0, "fds": 0.5})
    found["w1"]["fds"] = []
    result = across(found, "l1")
    assert isinstance(result, Across) and set(result.ranks) == {"l1", "lds"} and result.p is None
