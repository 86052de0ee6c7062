"""Validation only after some epochs: it changes no number of training, and none of the scores that there are."""

import copy

import pytest

from toys import TOYS
from training import fit
from workloads.loop import Fit
from workloads.recipe import Recipe
from workloads.training import settle

TOY = TOYS["regression"]
DATA = TOY.load(None)
EPOCHS, EVERY = 8, 3
RECIPES = {
    "l1": [2, 5, 7],
    "mse + lds + fds": [2, 5, 7],
    "l1 + affine": [2, 5, 7],
    "l1 + affine_oof": [2, 5, 7],
    "l1 + sqinv + drw": [2, 5, 7],  # its stages end after 6 and 8 epochs
    "l1 + sqinv + rrt": [2, 3, 5, 7],  # after 4 and 8
}
"""Epochs that are validated."""


def made(recipe: str, every: int, **settings: object) -> Fit:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return fit(TOY, DATA, recipe, {"train.epochs": EPOCHS, "train.validate_every": every, **named})  # type: ignore[dict-item]


def run(recipe: str, every: int, **settings: object) -> Fit:
    """A run at its end."""
    whole = made(recipe, every, **settings)
    list(whole)
    return whole


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_scores_of_validated_epochs_are_those_of_validation_after_every_epoch(recipe: str) -> None:
    last = {"train__keep": "last"}  # what is kept of a stage may differ, and a later stage may begin with it
    some, every = run(recipe, EVERY, **last), run(recipe, 1, **last)
    assert [epoch.epoch for epoch in some.curve if epoch.val] == RECIPES[recipe]
    for one, other in zip(some.curve, every.curve, strict=True):
        assert (one.loss, one.val) == (other.loss, other.val if one.val else {})
    assert (some.predict(DATA.test) == every.predict(DATA.test)).all()


def test_the_best_of_the_validated_epochs_is_kept() -> None:
    some = run("l1", EVERY)
    scores = {epoch.epoch: epoch.score("val/mae/all") for epoch in some.curve if epoch.val}
    assert some.kept().epoch == min(scores, key=lambda epoch: scores[epoch] or 0.0)
    assert [epoch.score("val/mae/all") is None for epoch in some.curve] == [e not in scores for e in range(EPOCHS)]


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_run_that_is_continued_between_two_validations_equals_one_that_was_not(stop: int) -> None:
    recipe = "l1 + sqinv + affine_oof + rrt"
    whole, first = run(recipe, EVERY), made(recipe, EVERY)
    for _ in zip(range(stop), first, strict=False):
        pass
    state = copy.deepcopy(first.state_dict())
    second = made(recipe, EVERY)
    second.load_state_dict(state)
    list(second)
    assert second.curve == whole.curve
    assert (second.predict(DATA.test) == whole.predict(DATA.test)).all()


def test_a_method_that_acts_after_training_is_not_called_idle_before_it_was_tried() -> None:
    run("l1 + affine", EVERY)  # warnings are errors


def test_trials_that_validate_after_every_epoch_are_the_ones_that_they_were() -> None:
    assert settle(Recipe.parse("l1"), {"train.validate_every": 1}) == {}
    assert settle(Recipe.parse("boosting"), {"train.validate_every": EVERY}) == {}, "trees are scored as they grow"
