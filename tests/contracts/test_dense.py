"""Laws of labels that are maps: what holds for rows holds for pixels, and one without a label is as if not there."""

import io
import itertools
from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest
import torch

from toys import DENSE, HIDDEN, dense_data
from workloads.hparams import Value
from workloads.loop import Fit
from workloads.methods import METHODS
from workloads.metrics import shot_metrics
from workloads.objectives import OBJECTIVES
from workloads.recipe import PARTS, Recipe
from workloads.training import settle
from workloads.workload import Data, Workload

CPU = torch.device("cpu")
EPOCHS = 3
RECIPES = [
    *(name for name in OBJECTIVES),
    *(f"{'l1' if 'regression' in m.tasks else 'arb'} + {name}" for name, m in METHODS.items() if m.dense),
    "l1 + lds + fds + distloss",
    "bmse + lds + fds + distloss + rrt",
    "arb + lds + fds + rrt",
]


def toy_of(recipe: str) -> Workload:
    return next(w for task, w in DENSE.items() if all(task in PARTS[p].tasks for p in Recipe.parse(recipe).parts))


def run_of(recipe: str, data: Data | None = None, settings: Mapping[str, Value] = {}) -> Fit:
    toy = toy_of(recipe)
    parsed = Recipe.parse(recipe)
    complete = settle(parsed, toy.settings, {"train.epochs": EPOCHS, "train.keep": "last"}, settings)
    return Fit(toy, data or toy.load(None), parsed, complete, 0, CPU)


def outcome(run: Fit) -> dict[str, torch.Tensor]:
    for _ in run:
        pass
    curve = torch.tensor([epoch.loss for epoch in run.curve], dtype=torch.float64)
    return {**run.model.state_dict(), "loss": curve, "prediction": torch.from_numpy(run.predict(run.data.test))}


@cache
def finished(recipe: str) -> tuple[Fit, dict[str, torch.Tensor]]:
    """A run that several tests have: nobody may change it."""
    run = run_of(recipe)
    return run, outcome(run)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_part_that_can_trains_on_maps_and_scores_every_region(recipe: str) -> None:
    run, found = finished(recipe)
    assert torch.isfinite(found["loss"]).all()
    test = run.data.test
    where = run.workload.regions(run.data, test)
    scores = shot_metrics(found["prediction"].numpy(), test.y.numpy(), where, run.workload.metrics)
    assert all(score.value is not None for r in ("all", "many", "medium", "few") for score in scores[r].values())
    assert scores["all"][run.workload.metrics[0]].count == len(test.y) == len(found["prediction"])


@pytest.mark.parametrize("recipe", ["l1 + lds + fds + distloss", "bmse + fds + rrt", "arb + lds + fds"])
@pytest.mark.parametrize("statistics", ["pass", "streaming"])
def test_an_interrupted_run_on_maps_equals_an_uninterrupted_one_bit_for_bit(recipe: str, statistics: str) -> None:
    settings: dict[str, Value] = {"fds.statistics": statistics}
    whole = outcome(run_of(recipe, settings=settings))
    first, checkpoints = run_of(recipe, settings=settings), []
    for _ in itertools.islice(first, EPOCHS - 1):
        saved = io.BytesIO()
        torch.save(first.state_dict(), saved)
        checkpoints.append(saved.getvalue())
    for checkpoint in checkpoints:
        torch.rand(7)
        continued = run_of(recipe, settings=settings)
        continued.load_state_dict(torch.load(io.BytesIO(checkpoint), weights_only=True))
        assert same(whole, outcome(continued))


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_lies_under_pixels_without_a_label_never_moves_a_number(recipe: str) -> None:
    classes = toy_of(recipe) is DENSE["classification"]
    assert same(finished(recipe)[1], outcome(run_of(recipe, dense_data(classes, hidden=1e3))))


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if "fds" in recipe])
def test_nor_does_it_move_a_statistic_that_is_gathered_on_the_way(recipe: str) -> None:
    classes = toy_of(recipe) is DENSE["classification"]
    settings: dict[str, Value] = {"fds.statistics": "streaming"}
    one, two = (outcome(run_of(recipe, dense_data(classes, hidden), settings)) for hidden in (0.0, 1e3))
    assert same(one, two)


@pytest.mark.parametrize("recipe", ["l1 + lds + fds + distloss", "bmse + fds + rrt", "arb + lds + fds"])
def test_maps_train_in_half_precision(recipe: str) -> None:
    found = outcome(run_of(recipe, settings={"train.precision": "bf16"}))
    assert torch.isfinite(found["loss"]).all()


def test_pixels_are_predicted_where_their_map_says() -> None:
    run = run_of("l1")
    split = run.data.test
    list(run)
    run.model.eval()
    with torch.no_grad():
        maps = run.model(split.inputs(torch.arange(8), CPU))
    assert maps.shape == (8, 8, 8)
    assert np.allclose(maps.flatten()[split.at].numpy(), run.predict(split), atol=1e-5)  # type: ignore[attr-defined]
    labels = split.maps(torch.arange(8), CPU)  # type: ignore[attr-defined]
    assert torch.equal(labels.flatten()[split.at], split.y)  # type: ignore[attr-defined]
    assert 0.1 < float(labels.isnan().float().mean()) < 2 * HIDDEN


def test_a_run_on_maps_equals_one_on_rows_of_their_pixels() -> None:
    """One batch of everything: an image of labelled pixels is what as many rows are."""
    from dataclasses import replace

    from torch import nn

    from workloads.workload import Table

    toy = DENSE["regression"]
    maps = toy.load(None)

    def rows_of(split: object) -> Table:
        x = split.inputs(torch.arange(split.rows), CPU).movedim(1, -1).flatten(0, -2)  # type: ignore[attr-defined]
        y = split.maps(torch.arange(split.rows), CPU).flatten()  # type: ignore[attr-defined]
        return Table(x[~y.isnan()], y[~y.isnan()])

    rows = Data(rows_of(maps.train), rows_of(maps.val), rows_of(maps.test), maps.units, "rows")
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 6))
    flat = replace(toy, encoder=lambda data: (net, 6), dense=False)
    recipe = Recipe.parse("l1 + lds + distloss")
    settings = settle(recipe, {"train.epochs": 1, "train.keep": "last", "train.batch_size": 10_000})
    dense = Fit(toy, maps, recipe, settings, 0, CPU)
    for ours, theirs in zip(net.parameters(), dense.model.encoder.parameters(), strict=True):
        ours.data.copy_(theirs.data.view(ours.shape))
    tabular = Fit(flat, rows, recipe, settings, 0, CPU)
    tabular.model.head.load_state_dict(dense.model.head.state_dict())
    # Dist Loss knows the distribution of labels from the scored half of the pixels: give both the same.
    tabular.model.methods["distloss"].load_state_dict(dense.model.methods["distloss"].state_dict())
    (a,), (b,) = list(dense), list(tabular)
    assert a.loss == pytest.approx(b.loss, rel=1e-5)
    for ours, theirs in zip(net.parameters(), dense.model.encoder.parameters(), strict=True):
        assert torch.allclose(ours, theirs.view(ours.shape), atol=1e-4)
