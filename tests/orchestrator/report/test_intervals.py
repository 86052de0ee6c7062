"""The interval of a paired difference: its tail against plain integration, its laws, how often it covers."""

import numpy as np
import pytest
from scipy import integrate, stats

from orchestrator.report.intervals import Estimate, estimate, half_width, tail, units_of
from workloads.labels import Floats, Ints


def found(difference: Floats, groups: Ints | None = None, strata: Ints | None = None) -> Estimate:
    """The estimate of differences `[S, N]`."""
    units, owner = units_of(np.zeros(difference.shape[1], dtype=np.int64) if strata is None else strata, groups)
    sums = np.stack([np.bincount(owner, weights=row, minlength=len(units.rows)) for row in difference])
    made = estimate(sums, units)
    assert made is not None
    return made


@pytest.mark.parametrize("df", [1, 2, 4, 9])
@pytest.mark.parametrize("shares", [(1, 1), (1, 0.1), (0.1, 1), (0.01, 1), (1, 1.01)])
def test_the_tail_is_that_of_plain_integration(df: int, shares: tuple[float, float]) -> None:
    s, r = shares
    for x in (0.5, 2.0, 5.0, 20.0):
        plain, _ = integrate.quad(
            lambda z, x=x: stats.norm.pdf(z) * stats.t.sf((x - r * z) / s, df),
            -12,
            12,
            points=[min(12, x / r)],
            limit=800,
        )
        assert tail(x, s, r, df) == pytest.approx(2 * plain, rel=1e-3, abs=1e-7)


def test_without_error_by_row_it_is_t_and_without_error_by_seed_it_is_normal() -> None:
    assert half_width(0.95, 2.0, 0.0, 4) == pytest.approx(2 * stats.t.ppf(0.975, 4), rel=1e-6)
    assert half_width(0.95, 0.0, 3.0, 4) == pytest.approx(3 * stats.norm.ppf(0.975), rel=1e-6)
    assert half_width(0.95, 0.0, 0.0, 4) == 0.0


def test_p_is_five_percent_where_the_interval_ends() -> None:
    e = Estimate(1.7, 0.5, 0.4, 5)
    low = e.interval().low
    assert tail(e.value - low, e.by_seed, e.by_row, 4) == pytest.approx(0.05, abs=1e-6)


def test_equal_tables_differ_by_exactly_nothing_and_a_constant_difference_has_no_width() -> None:
    same = found(np.zeros((3, 50)))
    assert (same.value, same.by_seed, same.by_row, same.p()) == (0.0, 0.0, 0.0, 1.0)
    shifted = found(np.full((3, 50), 2.0))
    assert (shifted.value, shifted.p()) == (pytest.approx(2.0), pytest.approx(0.0))


def test_one_seed_or_one_row_says_nothing_of_the_error() -> None:
    units, _ = units_of(np.zeros(9, dtype=np.int64), None)
    assert estimate(np.ones((1, 9)), units) is None
    one, _ = units_of(np.zeros(1, dtype=np.int64), None)
    assert estimate(np.ones((5, 1)), one) is None
    subject, _ = units_of(np.zeros(9, dtype=np.int64), np.zeros(9, dtype=np.int64))
    assert estimate(np.ones((5, 1)), subject) is None


def test_the_interval_scales_with_the_unit_of_the_label() -> None:
    difference = np.random.default_rng(0).normal(0.3, 1.0, (4, 30))
    plain = found(difference)
    for unit in (1e-9, 1e9):
        scaled = found(difference * unit)
        assert scaled.p() == pytest.approx(plain.p(), rel=1e-9)
        assert scaled.interval().high == pytest.approx(plain.interval().high * unit, rel=1e-6)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_cover_a_known_difference_at_least_as_often_as_they_say(seeds: int) -> None:
    rng = np.random.default_rng(7)
    draws, covered = 600, 0
    for _ in range(draws):
        by_seed, by_row = rng.normal(0, 0.15, (seeds, 1)), rng.normal(0, 1, (1, 60))
        e = found(0.5 + by_seed + by_row + rng.normal(0, 0.5, (seeds, 60)))
        covered += tail(abs(e.value - 0.5), e.by_seed, e.by_row, seeds - 1) >= 0.05
    assert covered / draws >= 0.93


def test_rows_of_one_subject_are_one_observation_not_many() -> None:
    rng = np.random.default_rng(3)
    subjects = np.repeat(np.arange(40), 12)
    false = {"apart": 0, "together": 0}
    for _ in range(200):
        difference = rng.normal(0, 1, 40)[subjects] + rng.normal(0, 1, (10, 480))
        false["apart"] += found(difference).p() <= 0.05
        false["together"] += found(difference, subjects).p() <= 0.05
    assert false["apart"] / 200 > 0.25  # half of the variance is the subject's
    assert false["together"] / 200 < 0.10


def test_a_subject_with_rows_in_two_regions_counts_once() -> None:
    rng = np.random.default_rng(4)
    subjects = np.repeat(np.arange(50), 10)
    regions = np.tile([0] * 5 + [1] * 5, 50)
    difference = rng.normal(0, 1, 50)[subjects] + rng.normal(0, 0.1, (4, 500))
    whole, split = found(difference, subjects), found(difference, subjects, regions)
    assert split.by_row == pytest.approx(whole.by_row, rel=0.05)


def test_what_regions_differ_by_is_no_error_of_a_mean_over_fixed_regions() -> None:
    rng = np.random.default_rng(5)
    regions = np.repeat([0, 1], 100)
    difference = np.where(regions == 0, -5.0, 5.0) + rng.normal(0, 1, (4, 200))
    assert found(difference, strata=regions).by_row < 0.3 * found(difference).by_row
