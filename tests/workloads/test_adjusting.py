"""What acts after training is fitted to rows that it is not judged by."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from toys import TOYS
from workloads.adjusting import Folds, Rows
from workloads.labels import Floats
from workloads.loop import Fit
from workloads.methods import METHODS
from workloads.recalibration import affine, folds_of, held_out_weights, isotonic
from workloads.recipe import Recipe
from workloads.seam import Adjustment
from workloads.training import settle
from workloads.workload import Data, Split, Table

CPU = torch.device("cpu")
TOY = TOYS["regression"]
DATA = TOY.load(None)
ADJUSTMENTS = [name for name, method in METHODS.items() if issubclass(method, Adjustment)]


def fit(recipe: str, data: Data = DATA, keep: str = "last") -> Fit:
    parsed = Recipe.parse(recipe)
    return Fit(TOY, data, parsed, settle(parsed, TOY.settings, {"train.epochs": 3, "train.keep": keep}), 0, CPU)


def trained(recipe: str, data: Data = DATA, keep: str = "last") -> Fit:
    run = fit(recipe, data, keep)
    for _ in run:
        pass
    return run


def relabelled(split: Split, y: Floats) -> Table:
    return Table(split.inputs(torch.arange(len(split.y)), CPU), torch.from_numpy(y).float())


def labels(split: Split) -> Floats:
    return split.y.numpy().astype(np.float64)


@pytest.mark.parametrize(("name", "curve"), [("affine", affine), ("isotonic", isotonic)])
def test_a_row_of_test_gets_the_curve_that_is_fitted_to_all_validation_rows(name, curve) -> None:
    plain, run = trained("l1"), trained(f"l1 + {name}")
    theirs = curve(plain.predict(DATA.val), labels(DATA.val))(plain.predict(DATA.test))
    assert run.predict(DATA.test) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("name", ADJUSTMENTS)
@pytest.mark.parametrize("keep", ["last", "best"])
def test_validation_scores_are_those_of_the_predictions_of_validation_rows(name, keep) -> None:
    run = trained(f"l1 + {name}", keep=keep)
    error = float(np.abs(run.predict(DATA.val) - labels(DATA.val)).mean())
    assert run.kept().val["all"]["mae"].value == pytest.approx(error)


@pytest.mark.parametrize("name", ADJUSTMENTS)
def test_no_validation_row_is_predicted_by_what_its_own_label_was_fitted_to(name) -> None:
    apart = labels(DATA.val) + 1e-3 * np.arange(len(DATA.val.y))  # no two alike: each can move without passing another

    def predicted(y: Floats) -> Floats:
        run = trained(f"l1 + {name}", replace(DATA, val=relabelled(DATA.val, y)))
        return run.predict(run.data.val)

    before = predicted(apart)
    for row in (0, 7, 20):
        assert predicted(apart + 4e-4 * (np.arange(len(apart)) == row))[row] == before[row]


@pytest.mark.parametrize(("name", "curve"), [("affine", affine), ("isotonic", isotonic)])
def test_validation_rows_are_predicted_worse_than_by_a_curve_that_has_seen_them(name, curve) -> None:
    plain, y = trained("l1").predict(DATA.val), labels(DATA.val)
    power = 1 if name == "affine" else 2
    seen, unseen = curve(plain, y)(plain), trained(f"l1 + {name}").predict(DATA.val)
    assert (np.abs(unseen - y) ** power).mean() > (np.abs(seen - y) ** power).mean()


def test_a_line_out_of_fold_uses_no_validation_label_but_their_histogram() -> None:
    shuffled = np.random.default_rng(0).permutation(labels(DATA.val))
    other = replace(DATA, val=relabelled(DATA.val, shuffled))
    ours, theirs = (trained("l1 + affine_oof", data).predict(DATA.test) for data in (DATA, other))
    assert np.array_equal(ours, theirs)
    ours, theirs = (trained("l1 + affine", data).predict(DATA.test) for data in (DATA, other))
    assert not np.array_equal(ours, theirs)


def test_a_training_row_is_predicted_by_a_model_that_has_not_seen_it() -> None:
    y = labels(DATA.train)
    fold = folds_of(y, 3)

    def said(rows: np.ndarray) -> Floats:
        """Predictions out of fold, where the labels of some rows are moved a little."""
        train = relabelled(DATA.train, y + 0.4 * rows)
        folds = Folds(train, y, 3, lambda part: fit("mse", replace(DATA, train=part)), CPU)
        made = []
        for number in range(2):
            folds.train()
            made.append(folds.outputs(number).pred)
        return np.stack(made)

    plain = said(np.zeros(len(y)))
    for k in range(3):
        moved = said(fold == k)
        assert np.array_equal(moved[:, fold == k], plain[:, fold == k])
        assert all((moved[:, fold == other] != plain[:, fold == other]).any() for other in range(3) if other != k)


def test_the_line_out_of_fold_is_that_of_runs_on_parts_of_the_training_rows() -> None:
    y, pred = labels(DATA.train), np.empty(len(DATA.train.y))
    fold, every = folds_of(y, 3), np.arange(len(y))
    for k in range(3):
        alone = trained("l1", replace(DATA, train=Rows(DATA.train, every[fold != k])))
        pred[fold == k] = alone.predict(Rows(DATA.train, every[fold == k]))
    line = affine(pred, y, held_out_weights(y, labels(DATA.val), TOY.grid))
    assert trained("l1 + affine_oof").predict(DATA.test) == pytest.approx(
        line(trained("l1").predict(DATA.test)), rel=1e-5
    )


def test_an_encoder_that_looks_at_the_rows_of_its_data_set_is_made_of_all_of_them() -> None:
    seen = []

    def encoder(data: Data) -> tuple[nn.Module, int]:
        seen.append(data.train)
        return TOY.encoder(data)

    recipe = Recipe.parse("l1 + affine_oof")
    Fit(replace(TOY, encoder=encoder), DATA, recipe, settle(recipe, TOY.settings, {"train.epochs": 1}), 0, CPU)
    assert len(seen) == 4 and all(split is DATA.train for split in seen)


def test_a_recipe_says_what_it_trains_and_how_often() -> None:
    recipe = Recipe.parse("rrt + affine_oof + lds + l1")
    assert str(recipe) == "l1 + lds + affine_oof + rrt"
    assert (str(recipe.trained), recipe.adjustment, recipe.trainings) == ("l1 + lds + rrt", "affine_oof", 3)
    assert (recipe.trained.adjustment, recipe.trained.trainings, Recipe.parse("l1 + affine").trainings) == (None, 1, 1)
    with pytest.raises(ValueError, match="affine and isotonic contradict each other, both set the predictions after"):
        Recipe.parse("l1 + affine + isotonic")
