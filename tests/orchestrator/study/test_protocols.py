"""The published protocols of two stages, said in a study file."""

from typing import Any

import pytest
import yaml

from builders import study
from orchestrator.errors import BadInput
from orchestrator.study.cells import expand
from workloads.laws import split_epochs
from workloads.objectives.bmse import BalancedMSE
from workloads.seam import Stage
from workloads.training import settle

RNC = """
recipes: {also: [l1 + rnc + two_stages]}
space:
  train.epochs: 500
  train.optimizer: sgd
  train.lr: 0.5
  train.weight_decay: 1.0e-4
  train.schedule: cosine
  two_stages.first: none
  two_stages.second_share: 0.2
  two_stages.trains: head
  two_stages.fresh_head: true
  two_stages.lr: 0.05
  two_stages.decay: false
"""
BALANCED_MSE = """
recipes: {also: [bmse + two_stages]}
space:
  train.epochs: 100
  train.lr: 1.0e-3
  bmse.noise: 10.0
  bmse.rate: 0.01
  two_stages.first: l1
  two_stages.second_share: 0.1
  two_stages.trains: head
  two_stages.lr: 1.0e-4
"""
DIST_LOSS = """
recipes: {also: [l1 + distloss + two_stages]}
space:
  train.epochs: 180
  train.lr: 1.0e-3
  train.schedule: steps
"""


def said(text: str) -> tuple[tuple[Stage, ...], list[int], dict[str, Any]]:
    """The stages of the only cell of a study, their epochs, and its settings."""
    (cell,) = [cell for cell in expand(study(**yaml.safe_load(text))) if "two_stages" in str(cell.recipe)]
    settings = settle(cell.recipe, cell.fixed)
    stages = tuple(cell.recipe.build(settings)[2].stages())
    return stages, split_epochs([stage.share for stage in stages], int(cell.fixed["train.epochs"])), settings


def test_rank_n_contrast_400_epochs_of_contrast_then_100_of_a_linear_head() -> None:
    (first, second), epochs, settings = said(RNC)
    assert epochs == [400, 100]
    assert (first.trains, first.objective) == ("encoder", "none")
    assert (second.trains, second.fresh_head, second.start) == ("head", True, "last")
    assert second.settings == {"lr": 0.05, "schedule": "constant", "weight_decay": 0.0}
    assert (settings["train.optimizer"], settings["train.lr"], settings["train.schedule"]) == ("sgd", 0.5, "cosine")


def test_balanced_mse_10_epochs_at_1e_4_on_a_backbone_that_l1_trained_for_90() -> None:
    (first, second), epochs, settings = said(BALANCED_MSE)
    assert epochs == [90, 10]
    assert (first.trains, first.objective) == ("all", "l1")
    assert (second.trains, second.objective, second.start) == ("head", "", "best")
    assert second.settings["lr"] == 1e-4
    assert BalancedMSE(BalancedMSE.Hparams(rate=settings["bmse.rate"])).learning_rate == 0.01


def test_dist_loss_90_epochs_without_and_90_with_it_from_the_best() -> None:
    (first, second), epochs, _ = said(DIST_LOSS)
    assert epochs == [90, 90]
    assert (first.trains, second.trains, second.start, second.fresh_head) == ("all", "all", "best", False)
    assert first.settings == second.settings == {}


def test_a_stage_without_an_objective_and_without_a_penalty_ends_at_plan() -> None:
    with pytest.raises(BadInput, match="such as rnc: got none in stage 0 of 'l1 \\+ two_stages'; add one") as refused:
        expand(study(recipes={"also": ["l1 + two_stages"]}, space={"two_stages.first": "none"}))
    assert len(str(refused.value).splitlines()) == 1
