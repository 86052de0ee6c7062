"""Metrics by region: against loops over samples, and where there is nothing to measure."""

import math

import numpy as np
import pytest
from scipy import stats

from published import agedb, stsb
from workloads.labels import LabelGrid, Shots, regions
from workloads.metrics import METRICS, Score, shot_metrics


def sample(n=200):
    generator = np.random.default_rng(0)
    target = generator.integers(1, 40, n).astype(float)
    return target + generator.normal(0, 5, n).clip(-0.9 * target), target


LOOPS = {
    "mae": lambda e, p, t: sum(e) / len(e),
    "mse": lambda e, p, t: sum(x * x for x in e) / len(e),
    "rmse": lambda e, p, t: math.sqrt(sum(x * x for x in e) / len(e)),
    "gm": lambda e, p, t: math.exp(sum(math.log(x) for x in e) / len(e)),
    "bmae": lambda e, p, t: np.mean([np.mean([x for x, y in zip(e, t, strict=True) if y == v]) for v in set(t)]),
    "pearson": lambda e, p, t: stats.pearsonr(p, t).statistic,
    "spearman": lambda e, p, t: stats.spearmanr(p, t).statistic,
    "absrel": lambda e, p, t: sum(x / y for x, y in zip(e, t, strict=True)) / len(e),
    "log10": lambda e, p, t: sum(abs(math.log10(a) - math.log10(b)) for a, b in zip(p, t, strict=True)) / len(e),
    "delta1": lambda e, p, t: sum(max(a / b, b / a) < 1.25 for a, b in zip(p, t, strict=True)) / len(e),
    "delta2": lambda e, p, t: sum(max(a / b, b / a) < 1.25**2 for a, b in zip(p, t, strict=True)) / len(e),
    "delta3": lambda e, p, t: sum(max(a / b, b / a) < 1.25**3 for a, b in zip(p, t, strict=True)) / len(e),
    "accuracy": lambda e, p, t: sum(x == 0 for x in e) / len(e),
    "error": lambda e, p, t: sum(x != 0 for x in e) / len(e),
    "miou": lambda e, p, t: np.mean(
        [
            sum(a == b == c for a, b in zip(p, t, strict=True)) / sum(c in pair for pair in zip(p, t, strict=True))
            for c in set(t)
        ]
    ),
}


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_equals_a_loop_over_samples(metric):
    pred, target = sample()
    if metric in ("accuracy", "error", "miou"):
        pred = pred.round()
    golden = LOOPS[metric]([abs(a - b) for a, b in zip(pred, target, strict=True)], list(pred), list(target))
    scores = shot_metrics(pred, target, np.zeros(len(target)), [metric])
    assert scores["all"][metric].value == pytest.approx(golden, rel=1e-10)
    assert scores["many"] == scores["all"]


def test_a_region_without_samples_has_no_score():
    pred, target = sample()
    scores = shot_metrics(pred, target, np.zeros(len(target)), tuple(METRICS))
    for region in ("medium", "few", "zero"):
        assert set(scores[region].values()) == {Score(None, 0)}


def test_what_is_not_defined_has_no_score_but_its_count():
    scores = shot_metrics([1.0, -1.0], [0.0, 0.0], [2, 2], ("pearson", "spearman", "absrel", "log10", "delta1"))
    assert set(scores["few"].values()) == {Score(None, 2)}


def test_intersection_over_union_counts_what_other_regions_take_for_a_class():
    pred, target, where = [0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 2, 2]
    scores = shot_metrics(pred, target, where, ["miou"])
    assert scores["many"]["miou"] == Score(pytest.approx(2 / 3), 2)
    assert scores["few"]["miou"] == Score(pytest.approx(1 / 2), 2)
    assert scores["all"]["miou"] == Score(pytest.approx((2 / 3 + 1 / 2) / 2), 4)


def test_an_exact_hit_does_not_make_the_geometric_mean_zero():
    assert shot_metrics([1.0, 2.0], [1.0, 3.0], [0, 0], ["gm"])["all"]["gm"].value == pytest.approx(1e-5)


def test_dense_targets_count_pixels():
    scores = shot_metrics(np.ones((2, 3, 3)), np.zeros((2, 3, 3)), np.zeros((2, 3, 3)), ["mae"])
    assert scores["all"]["mae"] == Score(1.0, 18)


def test_predicting_the_training_mean_scores_the_published_floor():
    train, test, grid = agedb("train").numpy(), agedb("test").numpy(), LabelGrid(0, 121, 121)
    scores = shot_metrics(np.full(len(test), train.mean()), test, regions(train, test, grid, Shots()), ["mae"])
    assert [round(scores[r]["mae"].value, 2) for r in ("all", "many", "medium", "few")] == [18.43, 12.80, 30.63, 37.81]
    train, test = stsb("train").numpy(), stsb("test").numpy()
    scores = shot_metrics(np.full(len(test), train.mean()), test, np.zeros(len(test)), ["mse"])
    assert scores["all"]["mse"].value == pytest.approx(2.160, abs=5e-4)
