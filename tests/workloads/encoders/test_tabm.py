"""TabM: the loss is the mean of the members' losses, the prediction the mean of their predictions."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from toys import INPUTS, TOYS
from workloads import WORKLOADS
from workloads.data.custom.rows import build
from workloads.data.custom.schema import kind_of
from workloads.encoders.tables import TabM
from workloads.loop import Fit
from workloads.model import Model
from workloads.recipe import Recipe
from workloads.seam import Batch, TrainLabels
from workloads.training import settle

CPU = torch.device("cpu")
MEMBERS, WIDTH = 3, 8
TOY = replace(TOYS["regression"], encoder=lambda data: (TabM(INPUTS, MEMBERS, WIDTH, 2), WIDTH))
DATA = TOY.load(None)


def fit(recipe: str, epochs: int = 4) -> Fit:
    parsed = Recipe.parse(recipe)
    complete = settle(parsed, TOY.settings, {"train.epochs": epochs, "train.keep": "last"})
    return Fit(TOY, DATA, parsed, complete, 0, CPU)


def model_and_batch(recipe: str) -> tuple[Model, Batch]:
    run = fit(recipe)
    for module in run.model.encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    rows = torch.arange(20)
    return run.model.train(), run.train.batch(rows, 0, 0)


@pytest.mark.parametrize("recipe", ["l1", "mse + sqinv"])
def test_the_loss_and_its_gradient_are_the_means_of_those_of_the_members(recipe):
    model, batch = model_and_batch(recipe)
    model.loss(batch).backward()
    found = [p.grad.clone() for p in model.encoder.parameters()]
    z = model.encoder(batch.x)
    losses = []
    for member in z.unbind(1):
        alone = replace(batch, x=member)
        encoder, model.encoder = model.encoder, nn.Identity()
        losses.append(model.loss(alone))
        model.encoder = encoder
    model.zero_grad()
    torch.stack(losses).mean().backward()
    torch.testing.assert_close(model.loss(batch), torch.stack(losses).mean())
    for ours, expected in zip(found, model.encoder.parameters(), strict=True):
        torch.testing.assert_close(ours, expected.grad, rtol=1e-4, atol=1e-7)


def test_a_prediction_is_the_mean_of_those_of_the_members_which_differ():
    model, batch = model_and_batch("l1")
    said = torch.stack([model.predict(member) for member in model.encoder(batch.x).unbind(1)])
    assert said.std(0).min() > 1e-4
    torch.testing.assert_close(model.eval()(batch.x), said.mean(0), rtol=1e-5, atol=1e-5)


def test_statistics_of_features_have_one_row_for_each_of_training_in_both_modes():
    run = fit("l1 + fds")
    for train_mode in (False, True):
        z, labels = run._features(0)(train_mode)
        assert z.shape == (len(labels), WIDTH) == (len(DATA.train.y), WIDTH)


@pytest.mark.parametrize("recipe", ["l1 + lds + fds + ranksim + cmixup", "mse + rnc + affine", "gaussian_nll + rrt"])
def test_any_recipe_trains_an_ensemble_and_a_resumed_run_equals_one_that_was_not_interrupted(recipe):
    whole = fit(recipe)
    losses = [epoch.loss for epoch in whole]
    assert np.isfinite(losses).all()
    first = fit(recipe)
    for epoch in first:
        if epoch.epoch == 1:
            break
    stream = io.BytesIO()
    torch.save(first.state_dict(), stream)
    stream.seek(0)
    second = fit(recipe)
    second.load_state_dict(torch.load(stream, weights_only=True))
    assert [epoch.loss for epoch in second.curve] + [epoch.loss for epoch in second] == losses
    assert np.array_equal(second.predict(DATA.test), whole.predict(DATA.test))


def test_it_brings_the_settings_that_its_authors_advise_and_a_study_may_set_others(tmp_path: Path):
    shipped, plain = WORKLOADS["nhanes-sbp@tabm"], WORKLOADS["nhanes-sbp"]
    assert (shipped.settings["train.lr"], shipped.settings["train.weight_decay"]) == (2e-3, 3e-4)
    assert shipped.settings["train.epochs"] == plain.settings["train.epochs"]
    assert settle(Recipe("l1"), shipped.settings, {"train.lr": 5e-3})["train.lr"] == 5e-3
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 90)
    path = tmp_path / "a.csv"
    path.write_text("x,y\n" + "\n".join(f"{label + rng.normal():.4f},{label}" for label in y) + "\n")
    tree = {"name": "mine", "type": "table", "file": str(path), "target": "y", "bin_width": 1.0, "encoder": "tabm"}
    own = build(kind_of(tree).model_validate(tree), None)
    assert own.settings["train.optimizer"] == "adamw" and own.needs == ("tabm",)
    encoder, dim = own.encoder(own.load(None))
    assert encoder.eval()(torch.randn(4, 1)).shape == (4, dim)


def test_labels_of_an_ensemble_follow_their_rows():
    model, batch = model_and_batch("l1")
    model.fit(TrainLabels(DATA.train.y, TOY.grid.of_learnt(), WIDTH, 20))
    seen: list[Batch] = []
    model.objective.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0].batch))
    model.loss(batch)
    assert torch.equal(seen[0].y.view(20, MEMBERS), batch.y[:, None].expand(20, MEMBERS))
    assert torch.equal(seen[0].index.view(20, MEMBERS), batch.index[:, None].expand(20, MEMBERS))
