import numpy as np
import pytest

from orchestrator.report.stats import Interval, paired_difference, spread


def test_mean_and_deviation_of_three_values_done_by_hand() -> None:
    s = spread([1.0, 2.0, 6.0])
    assert s.mean == 3.0
    assert s.sd == pytest.approx(7.0**0.5)  # (4 + 1 + 9) / 2
    assert s.n == 3


def test_one_value_has_no_deviation_and_none_is_refused() -> None:
    assert spread([2.0]).sd is None
    with pytest.raises(ValueError, match="at least one value"):
        spread([])


def test_equal_tables_differ_by_exactly_nothing() -> None:
    table = np.random.default_rng(0).random((3, 50))
    assert paired_difference(table, table, np.random.default_rng(1)) == Interval(0.0, 0.0, 0.0)


def test_a_constant_difference_has_an_interval_without_width() -> None:
    table = np.random.default_rng(0).random((3, 50))
    found = paired_difference(table + 2.0, table, np.random.default_rng(1))
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert found.excludes_zero


def test_the_generator_decides_and_the_same_one_gives_the_same_interval() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 40)), rng.random((3, 40))
    assert paired_difference(a, b, np.random.default_rng(5)) == paired_difference(a, b, np.random.default_rng(5))
    assert paired_difference(a, b, np.random.default_rng(5)) != paired_difference(a, b, np.random.default_rng(6))


def test_intervals_cover_a_known_difference_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(200):
        seeds, rows = rng.normal(0, 0.3, (8, 1)), rng.normal(0, 1, (1, 60))
        difference = 0.5 + seeds + rows + rng.normal(0, 0.5, (8, 60))
        found = paired_difference(difference, np.zeros_like(difference), rng, resamples=400)
        covered += found.low <= 0.5 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_rows_of_one_group_are_drawn_together() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(40), 25)
    shared = rng.normal(0.2, 1.0, 40)
    ours = np.repeat(shared, 25)[None] + rng.normal(0, 0.1, (4, 1000))
    apart = paired_difference(ours, np.zeros_like(ours), np.random.default_rng(0))
    together = paired_difference(ours, np.zeros_like(ours), np.random.default_rng(0), groups)
    assert together.value == apart.value
    assert together.high - together.low > 3 * (apart.high - apart.low)  # √25 = 5 times for what a group shares whole
    alone = paired_difference(ours, np.zeros_like(ours), np.random.default_rng(0), np.arange(1000))
    assert (alone.low, alone.high) == pytest.approx((apart.low, apart.high))


def test_tables_of_other_shapes_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="one shape"):
        paired_difference(np.zeros((2, 3)), np.zeros((3, 3)), np.random.default_rng(0))
