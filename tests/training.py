"""Short training runs on real workloads, for tests."""

from collections.abc import Mapping

import torch

from workloads.hparams import Value
from workloads.labels import regions
from workloads.loop import Fit
from workloads.metrics import shot_metrics
from workloads.recipe import Recipe
from workloads.training import settle
from workloads.workload import Data, Workload

EVERYTHING = "+ lds + fds + ranksim + distloss"


def fit(workload: Workload, data: Data, recipe: str, settings: Mapping[str, Value] = {}) -> Fit:
    """A run of one epoch with the workload's own settings, unless `settings` say otherwise."""
    parsed = Recipe.parse(recipe)
    complete = settle(parsed, workload.settings, {"train.epochs": 1}, settings)
    return Fit(workload, data, parsed, complete, 0, torch.device("cpu"))


def scored(run: Fit) -> dict[str, dict[str, float | None]]:
    """Train to the end; test scores by region and metric."""
    losses = [epoch.loss for epoch in run]
    assert all(loss > 0 for loss in losses)
    y = run.data.test.y.numpy()
    where = regions(run.data.train.y.numpy(), y, run.workload.grid, run.workload.shots)
    found = shot_metrics(run.predict(run.data.test), y, where, run.metrics)
    return {region: {name: score.value for name, score in scores.items()} for region, scores in found.items()}
