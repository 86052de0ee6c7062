"""Weights from label density."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from bench import reference
from published import agedb, stsb
from workloads.labels import LabelGrid, kernel_window
from workloads.methods.lds import density_weights, lds_weights

AGES = LabelGrid(0, 121, 121)
SCORES = LabelGrid(0, 5, 50)
NO_CLIP = (0, 10**9)
FIVE_DIGITS = 5e-5  # how the golden numbers are printed

GOLDEN_AGES = {
    ("inverse", None): {1: 26.597, 16: 7.388, 35: 0.37673, 60: 0.71884, 83: 6.9992, 101: 26.597},
    ("sqrt_inv", None): {1: 13.0765, 5: 9.24651, 16: 3.08217, 35: 0.69599, 60: 0.96141, 83: 2.99996},
    ("inverse", "gaussian"): {1: 34.397, 16: 5.29184, 35: 0.43787, 60: 0.79276, 83: 6.51732, 101: 26.919},
    ("sqrt_inv", "gaussian"): {
        1: 22.0098,
        5: 7.22184,
        16: 2.70136,
        35: 0.74118,
        60: 0.99777,
        83: 2.86488,
        101: 18.7088,
    },
}
GOLDEN_SCORES = {
    ("inverse", None): {0: 0.24528, 1: 26.245, 9: 104.98, 30: 0.29406, 49: 0.39916},
    ("sqrt_inv", None): {0: 0.59533, 9: 12.316, 30: 0.65185, 49: 0.75946},
    ("inverse", "gaussian"): {0: 0.97996, 1: 1.00539, 9: 1.69595, 30: 0.6533, 49: 1.22853},
    ("sqrt_inv", "gaussian"): {0: 1.30832, 9: 1.45522, 30: 0.84362, 49: 1.29053},
}


@pytest.mark.parametrize("setting", GOLDEN_AGES, ids=str)
def test_ages_weigh_as_published(setting):
    labels = agedb("train")
    weights = lds_weights(labels, AGES, *setting)
    assert_close(weights.mean(), torch.tensor(1.0))
    for age, golden in GOLDEN_AGES[setting].items():
        assert_close(weights[labels == age][0].item(), golden, rtol=FIVE_DIGITS, atol=0)


@pytest.mark.parametrize("setting", GOLDEN_SCORES, ids=str)
def test_scores_weigh_as_published(setting):
    labels = stsb("train")
    bins = torch.from_numpy(SCORES.bin(labels.numpy()))
    weights = lds_weights(labels, SCORES, *setting, clip=NO_CLIP)
    for b, golden in GOLDEN_SCORES[setting].items():
        assert_close(weights[bins == b][0].item(), golden, rtol=FIVE_DIGITS, atol=0)


@pytest.mark.parametrize("kernel", [None, "gaussian", "triang", "laplace"])
@pytest.mark.parametrize("scheme", ["sqrt_inv", "inverse"])
@pytest.mark.parametrize("width", [3, 5, 9])
def test_weights_equal_the_loops(kernel, scheme, width):
    generator = torch.Generator().manual_seed(width)
    labels = torch.randn(500, generator=generator).abs() * 12
    window = [1.0] if kernel is None else kernel_window(kernel, width, 1.5).tolist()
    transform = math.sqrt if scheme == "sqrt_inv" else (lambda n: min(max(n, 5), 1000))
    golden = reference.lds_weights(AGES.bin(labels.numpy()).tolist(), 121, transform, window)
    weights = lds_weights(labels, AGES, scheme, kernel, width, 1.5, truncate=False)
    assert_close(weights.tolist(), golden, rtol=1e-5, atol=0)


def test_smoothed_inverse_counts_are_truncated_as_published_unless_asked_not_to():
    counts = np.array([6, 7, 9])
    for truncate, smoothed in ((True, [9, 14, 12]), (False, [9.5, 14.5, 12.5])):
        weights = density_weights(counts, "inverse", "triang", 3, truncate=truncate)
        assert_close(weights[0] / weights[1:], smoothed[1:] / np.array(smoothed[0]))


def test_five_labels_weigh_as_done_by_hand():
    labels = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0])
    assert_close(lds_weights(labels, LabelGrid(0, 2, 2)), torch.tensor([0.5, 0.5, 0.5, 0.5, 1.0]) * 5 / 3)


def test_dense_labels_get_a_weight_each():
    labels = torch.arange(12.0).reshape(3, 4)
    weights = lds_weights(labels, LabelGrid(0, 12, 12), "sqrt_inv", "gaussian")
    assert weights.shape == labels.shape
    assert_close(weights.flatten(), lds_weights(labels.flatten(), LabelGrid(0, 12, 12), "sqrt_inv", "gaussian"))


def test_bins_before_the_first_get_its_weight():
    counts = torch.tensor([0, 0, 9, 4, 1]).numpy()
    weights = density_weights(counts, "inverse", "triang", 3, clip=NO_CLIP, border="reflect", first_bin=2)
    assert weights[0] == weights[1] == weights[2] < weights[3] < weights[4]
