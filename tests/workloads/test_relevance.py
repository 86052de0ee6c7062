"""Relevance: the monotone cubic through the box plot's control points."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicHermiteSpline

from workloads.relevance import TAILS, Relevance, relevance

SKEWED = np.random.default_rng(0).exponential(size=500)


@pytest.mark.parametrize("tails", TAILS)
def test_relevance_lies_between_0_and_1_and_grows_away_from_the_median(tails):
    phi = relevance(SKEWED, tails)
    y = np.linspace(SKEWED.min() - 1, SKEWED.max() + 1, 400)
    values = phi(y)
    assert phi(np.array(phi.median)) == 0 and values.min() >= 0 and values.max() == 1
    assert (np.diff(values[y >= phi.median]) >= 0).all() and (np.diff(values[y <= phi.median]) <= 0).all()


def test_relevance_is_the_cubic_with_slope_0_at_its_control_points():
    phi = Relevance(-2.0, 1.0, 7.0)
    spline = CubicHermiteSpline([-2, 1, 7], [1, 0, 1], [0, 0, 0])
    y = np.linspace(-2, 7, 101)
    assert phi(y) == pytest.approx(spline(y), abs=1e-12)
    assert phi(torch.from_numpy(y)).numpy() == pytest.approx(phi(y), abs=1e-15)


@pytest.mark.parametrize(("scale", "offset"), [(1e-9, 0.0), (1e9, 0.0), (1.0, 4.6e6)])
def test_relevance_does_not_depend_on_the_unit(scale, offset):
    moved = relevance(scale * SKEWED + offset)
    assert moved(scale * SKEWED + offset) == pytest.approx(relevance(SKEWED)(SKEWED), abs=1e-7)


def test_control_points_are_the_fences_of_the_box_plot():
    labels = [*range(1, 10), 30]  # quartiles 3.25 and 7.75: the upper fence is at 14.5
    assert relevance(labels, "both") == Relevance(1.0, 5.5, 9.0)
    assert relevance(labels) == Relevance(-math.inf, 5.5, 9.0)
    assert relevance([-y for y in labels]) == Relevance(-9.0, -5.5, math.inf)
    assert relevance(range(11)) == Relevance(0.0, 5.0, 10.0), "no tail has outliers: both are relevant"


def test_an_end_at_the_median_moves_on_to_the_extreme_label():
    assert relevance([0] * 90 + [1, 2, 5]) == Relevance(-math.inf, 0.0, 5.0)


def test_where_all_labels_are_equal_nothing_is_relevant():
    assert relevance([3.0] * 7)(np.array([2.0, 3.0, 4.0])).tolist() == [0, 0, 0]
