"""Plans: what is trained in which stage."""

import pytest
import torch

from toys import TOYS
from workloads.loop import Fit
from workloads.plans import PLANS
from workloads.recipe import Recipe
from workloads.training import settle, versions


@pytest.mark.parametrize("plan", PLANS)
def test_the_shares_of_the_stages_add_up_to_1(plan):
    for hparams in ({}, {"head_share": 0.2} if plan == "rrt" else {}):
        stages = PLANS[plan](PLANS[plan].Hparams.of(hparams, plan)).stages()
        assert sum(stage.share for stage in stages) == pytest.approx(1.0)


def test_retraining_moves_a_fresh_head_and_the_batch_statistics_and_freezes_the_encoder():
    toy, recipe = TOYS["regression"], Recipe.parse("l1 + sqinv + fds + rrt")
    data = toy.load(None)
    settings = settle(recipe, toy.settings, {"train.epochs": 4, "train.keep": "last"})
    run = Fit(toy, data, recipe, settings, 0, torch.device("cpu"))
    before, stages = {}, []
    for epoch in run:
        stages.append(epoch.stage)
        if epoch.epoch == 1:
            before = {name: value.clone() for name, value in run.model.state_dict().items() if torch.is_tensor(value)}
    after = run.model.state_dict()
    assert stages == [0, 0, 1, 1]
    encoder = dict(run.model.encoder.named_parameters())
    assert all(torch.equal(after[f"encoder.{name}"], before[f"encoder.{name}"]) for name in encoder)
    assert not torch.equal(after["encoder.1.running_mean"], before["encoder.1.running_mean"])
    assert not torch.equal(after["head.weight"], before["head.weight"])
    assert not torch.equal(after["methods.fds.mean"], before["methods.fds.mean"])


@pytest.mark.parametrize(("plan", "acts"), [("once", True), ("rrt", False)])
def test_weights_act_in_the_last_stage_only(plan, acts):
    toy = TOYS["regression"]
    losses = []
    for text in (f"l1 + {plan}", f"l1 + sqinv + {plan}"):
        recipe = Recipe.parse(text)
        settings = settle(recipe, toy.settings, {"train.epochs": 2})
        losses.append([epoch.loss for epoch in Fit(toy, toy.load(None), recipe, settings, 0, torch.device("cpu"))])
    assert (losses[0][0] != losses[1][0]) == acts
    assert losses[0][1] != losses[1][1]


@pytest.mark.parametrize(
    ("recipe", "settings", "version"),
    [
        ("l1 + rrt", {"train.grad_clip": 5.0}, 2),
        ("l1 + rrt", {"train.grad_clip": 5.0, "train.precision": "bf16"}, 4),
        ("cross_entropy + lws", {"train.grad_clip": 5.0}, 2),
        ("l1 + two_stages", {"train.grad_clip": 5.0, "two_stages.trains": "head"}, 2),
        ("l1 + two_stages", {"train.grad_clip": 5.0}, None),
        ("l1 + drw", {"train.grad_clip": 5.0}, None),
        ("l1", {"train.grad_clip": 5.0}, None),
        ("l1 + rrt", {}, None),
    ],
)
def test_only_trials_in_which_resting_weights_counted_in_the_norm_have_another_version(recipe, settings, version):
    assert versions(Recipe.parse(recipe), settings).get("train") == version


@pytest.mark.parametrize("seed", range(3))
def test_the_kept_epoch_is_of_the_last_stage_also_where_one_before_has_the_same_score(seed):
    toy, recipe = TOYS["classification"], Recipe.parse("cross_entropy + lws")
    settings = {"train.epochs": 10, "lws.share": 0.5, "train.monitor": "val/accuracy/all"}
    run = Fit(toy, toy.load(None), recipe, settle(recipe, toy.settings, settings), seed, torch.device("cpu"))
    scores = [epoch.score("val/accuracy/all") for epoch in run]
    assert max(scores[5:]) in scores[:5]
    assert run.kept().epoch == 5 + scores[5:].index(max(scores[5:]))
