"""What labels say about their settings: laws of the rules, and examples whose answer is known."""

import numpy as np
import pytest

from toys import TOYS
from workloads import WORKLOADS
from workloads.advice import advise, bin_width, freedman_diaconis, held_out_score, read_on, shots_of, windows
from workloads.labels import kernel_window
from workloads.methods.lds import LDS

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("labels", "step"),
    [
        (RANDOM.integers(0, 100, 500).astype(float), 1.0),
        (2.0 * RANDOM.integers(35, 120, 500), 2.0),
        (RANDOM.integers(0, 51, 500).astype(np.float32) / np.float32(10), 0.1),
        (RANDOM.normal(0, 1, 500), 0.0),
        (np.full(9, 3.0), 0.0),
    ],
)
def test_the_step_of_a_scale_is_found(labels, step):
    assert read_on(np.asarray(labels, np.float64)) == pytest.approx(step)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e4])
def test_bins_are_as_wide_as_the_rule_allows_and_never_between_two_steps(factor):
    even = 2.0 * RANDOM.integers(0, 500, 3000) * factor
    assert read_on(even) <= bin_width(even) <= freedman_diaconis(even)
    assert bin_width(even) / read_on(even) == pytest.approx(round(bin_width(even) / read_on(even)))
    coarse = 10.0 * RANDOM.integers(0, 5, 3000) * factor
    assert bin_width(coarse) == read_on(coarse) == pytest.approx(10 * factor)


def test_freedman_and_diaconis_of_a_uniform_sample():
    assert freedman_diaconis(np.linspace(0, 1, 1001)) == pytest.approx(2 * 0.5 / 1001 ** (1 / 3))


def test_the_held_out_score_is_that_of_a_loop_which_leaves_every_row_out():
    counts = np.array([5, 0, 3, 1, 0, 0, 1])
    window = kernel_window("gaussian", 3, 1.0)
    rows, total = int(counts.sum()), 0.0
    for b, n in enumerate(counts):
        for _ in range(n):
            others = counts.astype(float)
            others[b] -= 1
            smoothed = np.convolve(others, window, mode="same")[b] / (window.sum() * (rows - 1))
            total += np.log((1 - 1 / rows) * smoothed + 1 / (rows * len(counts)))
    assert held_out_score(counts, window) == pytest.approx(total / rows)


def test_a_smooth_density_asks_for_a_wider_window_with_fewer_rows_and_a_comb_for_none():
    bell = np.exp(-0.5 * ((np.arange(100) - 50) / 12) ** 2)
    few, many = (RANDOM.multinomial(rows, bell / bell.sum()) for rows in (200, 200_000))
    assert windows(few)[0].score > held_out_score(few, np.ones(1))
    spread = [
        window.width if window.kernel == "triang" else window.sigma for window in (windows(few)[0], windows(many)[0])
    ]
    assert spread[0] > spread[1]
    comb = np.where(np.arange(100) % 2, 0, many)
    assert windows(comb)[0].score < held_out_score(comb, np.ones(1))


def test_every_window_is_one_that_lds_takes():
    made = windows(np.array([3, 4, 9, 2]))
    for window in made:
        LDS.Hparams(kernel=window.kernel, width=window.width, sigma=window.sigma)
    assert [w.score for w in made] == sorted((w.score for w in made), reverse=True)


def test_thresholds_part_the_test_rows_into_thirds():
    counts = np.array([90, 80, 70, 9, 8, 7, 3, 2, 1])
    rule = shots_of(counts, np.ones(9, int))
    assert np.bincount(rule.of_counts(counts), minlength=3)[:3].tolist() == [3, 3, 3]
    assert shots_of(np.array([5, 5, 5]), np.ones(3, int)).few >= 1


def test_real_labels_get_settings_of_their_own():
    workload = WORKLOADS["nhanes-sbp"]
    found = advise(workload, workload.load(None))
    assert found.heap == found.bin_width == 2.0  # blood pressure is read on even numbers
    assert found.best.score > max(found.published, found.unsmoothed)
    assert found.shots_fit and found.in_regions == (210, 140, 123)
    assert found.relevance.high == 166.0 and 0 < found.ess < 1 < found.ratio
    toy = TOYS["regression"]
    small = advise(toy, toy.load(None))
    assert not small.shots_fit and sum(small.in_regions) <= 40
