"""The label axis."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from published import agedb, stsb
from workloads.labels import LabelGrid, ShotLists, Shots, heaps, kernel_window, regions

AGES = LabelGrid(0, 121, 121)
SCORES = LabelGrid(0, 5, 50)
STSB = ShotLists(many=(*range(0, 1), *range(10, 27, 2), *range(28, 49, 2), 49), medium=(2, 4, 6, 8, 27, 35, 37))


@pytest.mark.parametrize(
    ("kernel", "width", "sigma", "peak", "total"),
    [
        ("gaussian", 5, 2, [0.858285, 0.945828, 1], [0.186251, 0.205248, 0.217003]),
        (
            "gaussian",
            9,
            1,
            [0.000335, 0.011109, 0.135335, 0.606531, 1],
            [0.000134, 0.004432, 0.053991, 0.241971, 0.398943],
        ),
        (
            "gaussian",
            9,
            2,
            [0.179272, 0.335761, 0.608718, 0.882832, 1],
            [0.03576, 0.066976, 0.121424, 0.176103, 0.199475],
        ),
        ("gaussian", 5, 1, [0.146444, 0.606866, 1], [0.058423, 0.242105, 0.398943]),
        ("triang", 5, 2, [1 / 3, 2 / 3, 1], [1 / 9, 2 / 9, 1 / 3]),
        ("laplace", 5, 2, [0.367879, 0.606531, 1], [0.124755, 0.205686, 0.339119]),
        (
            "laplace",
            9,
            1,
            [0.018316, 0.049787, 0.135335, 0.367879, 1],
            [0.008548, 0.023236, 0.063163, 0.171695, 0.466715],
        ),
    ],
)
def test_windows_equal_the_published_ones(kernel, width, sigma, peak, total):
    half = width // 2
    for normalize, golden in (("max", peak), ("sum", total)):
        window = kernel_window(kernel, width, sigma, normalize)
        assert_allclose(window[: half + 1], golden, atol=6e-7)
        assert_array_equal(window, window[::-1])


@pytest.mark.parametrize(
    ("width", "sigma", "kernel"), [(4, 1, "triang"), (0, 1, "triang"), (5, 0, "laplace"), (5, 1, "box")]
)
def test_a_window_that_cannot_be_is_refused(width, sigma, kernel):
    with pytest.raises(ValueError, match=r"got|known"):
        kernel_window(kernel, width, sigma)


def test_bins_are_half_open_and_the_last_holds_the_end():
    assert SCORES.bin([0.0, 0.0999, 0.1, 4.95, 5.0, 7.0]).tolist() == [0, 0, 1, 49, 49, 49]
    assert AGES.bin([[0, 1], [100.5, 300]]).tolist() == [[0, 1], [100, 120]]


@pytest.mark.parametrize("label", [-1.0, float("nan")])
def test_a_label_below_the_grid_is_refused_with_its_row(label):
    with pytest.raises(ValueError, match="row 1"):
        SCORES.bin([1.0, label])


def test_stsb_counts_equal_the_published_histogram():
    golden = (
        "428 4 96 2 98 9 86 14 97 1 203 1 139 7 117 22 111 17 118 1 186 3 192 7 111 27 150 35 143 1 "
        "357 6 332 22 239 55 209 71 257 5 352 3 229 4 126 20 115 25 133 263"
    )
    assert SCORES.counts(stsb("train").numpy()).tolist() == [int(n) for n in golden.split()]


def _shots(train, test, grid, rule):
    return np.bincount(regions(train.numpy(), test.numpy(), grid, rule), minlength=4).tolist()


def test_shot_regions_have_the_published_sizes():
    assert _shots(agedb("train"), agedb("test"), AGES, Shots()) == [1530, 448, 162, 0]
    assert _shots(agedb("train"), agedb("train"), AGES, Shots()) == [11154, 851, 203, 0]
    assert _shots(stsb("train"), stsb("test"), SCORES, STSB) == [756, 170, 74, 0]
    assert _shots(stsb("train"), stsb("test"), SCORES, Shots()) == [756, 207, 37, 0]


def test_a_bin_without_training_rows_is_zero_shot():
    train = torch.tensor([1.0] * 101 + [2.0] * 50 + [3.0])
    assert regions(train, [1, 2, 3, 4], LabelGrid(0, 10, 10), Shots()).tolist() == [0, 1, 2, 3]
    assert regions(train, [1, 2, 3, 4], LabelGrid(0, 10, 10), ShotLists((1, 4), (2,))).tolist() == [0, 1, 2, 3]


def test_many_distinct_labels_are_put_together_without_moving_their_mean():
    labels = np.random.default_rng(0).gamma(2.0, 3.0, 50_000)
    values, counts = heaps(labels, 100)
    assert len(values) <= 100
    assert counts.sum() == len(labels)
    assert (np.diff(values) > 0).all()
    assert counts @ values / counts.sum() == pytest.approx(labels.mean(), rel=1e-12)
    cell = np.ptp(labels) / 100
    assert np.abs(np.repeat(values, counts) - np.sort(labels)).max() <= cell
    few, how_often = heaps([3.0, 1.0, 3.0])
    assert (few.tolist(), how_often.tolist()) == ([1.0, 3.0], [1, 2])
