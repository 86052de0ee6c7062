"""One epoch of training on a classification workload, for tests of every such data set."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from workloads.labels import regions
from workloads.loop import Fit
from workloads.metrics import shot_metrics
from workloads.recipe import Recipe
from workloads.seam import NoEffectWarning
from workloads.training import settle
from workloads.workload import Workload

RECIPES = ("arb + ot", "cross_entropy + lds + fds + ranksim")
"""Both objectives, and every kind of method."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Train on one thread: the layers are too small for more, which a busy machine only makes slow."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train_one_epoch(workload: Workload, root: Path | None, recipe: str, empty: str = "zero") -> None:
    """Train once through the data and expect test scores in every shot region but the one that is empty."""
    data = workload.load(root)
    settings = settle(Recipe.parse(recipe), workload.settings, {"train.epochs": 1})
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", NoEffectWarning
        )  # one epoch is too short for methods that first gather statistics
        fit = Fit(workload, data, Recipe.parse(recipe), settings, 0, torch.device("cpu"))
        (epoch,) = list(fit)
        pred = fit.predict(data.test)
    assert math.isfinite(epoch.loss)
    where = regions(data.train.y.numpy(), data.test.y.numpy(), workload.grid, workload.shots)
    scores = shot_metrics(pred, data.test.y.numpy(), where, workload.metrics)
    for region in {"all", "many", "medium", "few"} - {empty}:
        accuracy, error = scores[region]["accuracy"].value, scores[region]["error"].value
        assert accuracy is not None and error is not None, region
        assert 0 <= accuracy <= 1 and math.isclose(accuracy + error, 1)
