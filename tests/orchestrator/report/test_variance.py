import numpy as np
import pytest

from orchestrator.report.variance import Components, components


def test_planted_components_come_back() -> None:
    rng = np.random.default_rng(0)
    made = [
        components(rng.normal(0, 2, (8, 1)) + rng.normal(0, 5, (1, 300)) + rng.normal(0, 3, (8, 300)))
        for _ in range(60)
    ]
    assert np.mean([c.seed for c in made if c]) == pytest.approx(4.0, rel=0.2)
    assert np.mean([c.row for c in made if c]) == pytest.approx(25.0, rel=0.05)
    assert np.mean([c.rest for c in made if c]) == pytest.approx(9.0, rel=0.03)


def test_one_seed_has_no_components() -> None:
    assert components(np.ones((1, 9))) is None


def test_the_detectable_difference_is_found_in_eighty_of_a_hundred_studies() -> None:
    truth = Components(1.0, 9.0, 4.0, seeds=10, rows=200)
    size = truth.detectable(0.05)
    rng = np.random.default_rng(2)
    se, df = truth.error(10, 200)
    from scipy.stats import t as student

    found = 0
    for _ in range(2000):
        by_seed = rng.normal(0, 1, 10).mean()
        mean = size + by_seed + rng.normal(0, 3 / 200**0.5) + rng.normal(0, 2 / 2000**0.5)
        found += abs(mean) > student.ppf(0.975, df) * se
    assert found / 2000 == pytest.approx(0.8, abs=0.05)


def test_more_seeds_help_until_the_test_rows_are_what_is_missing() -> None:
    few_seeds = Components(4.0, 1.0, 1.0, seeds=3, rows=1000)
    seeds = few_seeds.seeds_for(1.5, 0.05)
    assert seeds is not None and 10 < seeds < 30
    assert few_seeds.detectable(0.05, seeds) <= 1.5 < few_seeds.detectable(0.05, seeds - 1)
    assert Components(0.1, 100.0, 1.0, seeds=3, rows=100).seeds_for(1.5, 0.05) is None
