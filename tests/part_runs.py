"""Runs of the toys with every part of a network, shared by the laws of parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch

from toys import TOYS
from workloads.hparams import Value
from workloads.loop import Fit
from workloads.methods import METHODS
from workloads.objectives import OBJECTIVES as EVERY_OBJECTIVE
from workloads.recipe import PARTS as EVERY_PART
from workloads.recipe import Recipe
from workloads.training import settle

CPU = torch.device("cpu")
EPOCHS = 4
OBJECTIVES = {name: part for name, part in EVERY_OBJECTIVE.items() if part.trainer == "network"}
PARTS = {name: part for name, part in EVERY_PART.items() if name in OBJECTIVES or name not in EVERY_OBJECTIVE}
"""Those of a network; the laws of trees are those of `tests/workloads/test_boosting.py`."""
DATA = {task: toy.load(None) for task, toy in TOYS.items()}


def task_of(recipe: Recipe) -> str:
    return next(task for task in TOYS if all(task in PARTS[part].tasks for part in recipe.parts))


def fit(recipe: Recipe, settings: Mapping[str, Value] = {}, seed: int = 0, epochs: int = EPOCHS) -> Fit:
    toy = TOYS[task_of(recipe)]
    complete = settle(recipe, toy.settings, {"train.epochs": epochs, "train.keep": "last"}, settings)
    return Fit(toy, DATA[toy.task], recipe, complete, seed, CPU)


def outcome(run: Fit) -> dict[str, torch.Tensor]:
    """Everything that a finished run leaves behind, flat."""
    for _ in run:
        pass
    state = {**run.model.state_dict(), "loss": torch.tensor([epoch.loss for epoch in run.curve])}
    return {**state, "prediction": torch.from_numpy(run.predict(run.data.test))}


@dataclass(frozen=True)
class Finished:
    """A run that nobody may change any more, for several tests have it."""

    run: Fit
    outcome: Mapping[str, torch.Tensor]

    @classmethod
    def of(cls, recipe: Recipe, settings: Mapping[str, Value] = {}) -> "Finished":
        return _finished(recipe, tuple(settings.items()))


@cache
def _finished(recipe: Recipe, settings: tuple[tuple[str, Value], ...]) -> Finished:
    run = fit(recipe, dict(settings))
    return Finished(run, outcome(run))


def same(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def recipe_with(part: str) -> Recipe:
    """The plainest recipe that holds a part."""
    if part in OBJECTIVES:
        return Recipe(part)
    objective = "l1" if "regression" in PARTS[part].tasks else "cross_entropy"
    return Recipe(objective, (part,)) if part in METHODS else Recipe(objective, (), part)
