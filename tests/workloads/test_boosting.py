"""Gradient boosting as a run: weights, early stopping and resumption as of a network, and what it cannot have."""

import io
import itertools

import numpy as np
import pytest
import torch

from toys import DENSE, TOYS
from workloads.data.custom.inputs import part_of
from workloads.hparams import Choice
from workloads.loop import Fit
from workloads.methods import METHODS
from workloads.objectives.boosting import Boosting
from workloads.plans import PLANS
from workloads.recipe import Recipe
from workloads.seam import NoEffectWarning
from workloads.trainers import check, start
from workloads.training import settle
from workloads.trees import Trees
from workloads.workload import Data, Table, Units

TOY = TOYS["regression"]
DATA = TOY.load(None)
CPU = torch.device("cpu")
SMALL = {"boosting.leaf_rows": 3, "boosting.leaves": 4, "boosting.trees": 3, "train.epochs": 4}


def grown(recipe: str, data: Data = DATA, seed: int = 0, **settings: object) -> Trees:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    parsed = Recipe.parse(recipe)
    run = start(TOY, data, parsed, settle(parsed, TOY.settings, SMALL, named), seed, CPU)  # type: ignore[arg-type]
    assert isinstance(run, Trees)
    return run


def said(run: Trees) -> np.ndarray:
    list(run)
    return run.predict(DATA.test)


WEIGHTS = [name for name, method in METHODS.items() if not method.needs_network() and "regression" in method.tasks]


def test_what_weighs_rows_or_recalibrates_goes_with_trees_and_all_else_is_refused_with_one_message():
    assert {"inv", "sqinv", "lds", "denseweight", "relevance", "affine", "isotonic", "affine_oof"} <= set(WEIGHTS)
    for name in METHODS:
        if METHODS[name].needs_network():
            with pytest.raises(ValueError, match=f"boosting grows trees, and {name} acts on a network"):
                Recipe("boosting", (name,))
    for plan in (plan for plan in PLANS if plan != "once"):
        with pytest.raises(ValueError, match=f"boosting grows trees, and {plan} acts on a network"):
            Recipe("boosting", (), plan)


def test_the_other_objectives_train_networks():
    recipe = Recipe("l1")
    assert isinstance(start(TOY, DATA, recipe, settle(recipe, TOY.settings), 0, CPU), Fit)


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_method_that_goes_with_trees_moves_what_they_predict(name):
    assert not np.array_equal(said(grown("boosting")), said(grown(f"boosting + {name}")))


@pytest.mark.parametrize("loss", ["l1", "l2"])
@pytest.mark.parametrize("method", ["", " + sqinv", " + affine_oof"])
def test_a_continued_run_equals_an_uninterrupted_one_bit_for_bit(method, loss):
    whole = grown(f"boosting{method}", boosting__loss=loss, boosting__columns=0.6)
    expected = said(whole)
    for stop in (1, 3):
        first = grown(f"boosting{method}", boosting__loss=loss, boosting__columns=0.6)
        list(itertools.islice(first, stop))
        saved = io.BytesIO()
        torch.save(first.state_dict(), saved)
        saved.seek(0)
        again = grown(f"boosting{method}", boosting__loss=loss, boosting__columns=0.6)
        again.load_state_dict(torch.load(saved, weights_only=True))
        assert np.array_equal(said(again), expected)
        assert again.curve == whole.curve


@pytest.mark.parametrize("field", list(Boosting.Hparams.declared().values()), ids=lambda field: field.name)
def test_every_hyperparameter_moves_something(field):
    name, limits = f"boosting.{field.name}", field.range
    values = limits.options if isinstance(limits, Choice) else (limits.low, limits.high)
    runs = [said(grown("boosting", **{name.replace(".", "__"): value})) for value in values]
    assert not np.array_equal(*runs)


def test_one_tree_moves_each_side_of_a_split_towards_its_weighted_mean():
    x = torch.tensor([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]])
    rows = Table(x, torch.tensor([0.0, 0.0, 3.0, 20.0, 20.0, 20.0]))  # three bins of 2, 1 and 3 rows
    data = Data(rows, rows, rows, Units(), "")
    weights = np.array([2**-0.5, 2**-0.5, 1, 3**-0.5, 3**-0.5, 3**-0.5])  # sqinv, up to a factor
    mean = np.average(rows.y, weights=weights)
    low = np.average(rows.y[:3], weights=weights[:3])
    run = grown(
        "boosting + sqinv", data, boosting__trees=1, boosting__leaf_rows=1, boosting__rate=0.25, train__epochs=1
    )
    list(run)
    expected = [mean + 0.25 * (low - mean)] * 3 + [mean + 0.25 * (20 - mean)] * 3
    assert run.predict(rows) == pytest.approx(expected)


def test_the_epoch_that_validates_best_is_kept_and_its_trees_alone_predict():
    run = grown("boosting", boosting__rate=0.5, boosting__leaf_rows=1, boosting__trees=20, train__epochs=8)
    list(run)
    scores = [epoch.score("val/mae/all") for epoch in run.curve]
    kept = int(np.argmin(scores))
    assert run.kept().epoch == kept < 7  # it over-fits before the end
    short = grown("boosting", boosting__rate=0.5, boosting__leaf_rows=1, boosting__trees=20, train__epochs=kept + 1)
    assert np.array_equal(said(short), run.predict(DATA.test))
    last = grown("boosting", boosting__rate=0.5, boosting__leaf_rows=1, boosting__trees=20, train__keep="last")
    list(last)
    assert last.kept().epoch == 3


def test_another_seed_draws_other_columns_and_the_same_seed_the_same():
    a, b, other = (said(grown("boosting", seed=seed, boosting__columns=0.5)) for seed in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, other)


def test_only_what_acts_is_part_of_the_settings():
    settings = settle(Recipe("boosting"), {"train.lr": 0.3, "train.batch_size": 7, "train.epochs": 5})
    assert settings == {"train.epochs": 5}


def test_weights_that_change_nothing_are_told():
    y = torch.arange(60.0) % 30
    even = Data(
        Table(torch.randn(60, 5, generator=torch.Generator().manual_seed(0)), y), DATA.val, DATA.test, Units(), ""
    )
    with pytest.warns(NoEffectWarning, match="sqinv changed nothing"):
        grown("boosting + sqinv", even)


def test_inputs_that_are_no_columns_of_numbers_are_refused_before_any_work():
    table = part_of(np.zeros((4, 2, 3), np.float32), np.zeros(4))(np.arange(4))
    check(Recipe("boosting"), Data(table, table, table, Units(), ""))  # vectors of two sentences are columns
    words = Table(torch.zeros(4, 3, dtype=torch.long), torch.zeros(4))
    with pytest.raises(
        ValueError, match=r"boosting grows trees on columns of numbers, .* frozen features: got 'boosting'"
    ):
        check(Recipe("boosting"), Data(words, words, words, Units(), ""))
    check(Recipe("l1"), Data(words, words, words, Units(), ""))
    assert not Boosting.dense and DENSE["regression"].dense
