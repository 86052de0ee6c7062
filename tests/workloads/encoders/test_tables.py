"""Encoders of tables and signals by name, and shipped data sets read by another encoder of their kind."""

import pytest
import torch

from builders import study
from orchestrator.errors import BadInput
from orchestrator.study.cells import expand
from workloads import WORKLOADS
from workloads.encoders.named import ENCODERS
from workloads.encoders.signals import Attention, SignalResNet
from workloads.encoders.tables import SmoothClip, mlp
from workloads.recipe import Recipe
from workloads.trainers import start
from workloads.training import settle


@pytest.mark.parametrize("name", ENCODERS["table"])
def test_every_encoder_of_tables_gives_features_of_its_width_and_all_its_weights_learn(name):
    torch.manual_seed(0)
    named = ENCODERS["table"][name]
    encoder, dim = named.make((6,), named.hidden, None)
    x = torch.randn(9, 6)
    encoder(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    assert encoder.eval()(x).shape == (9, dim)


def test_a_clip_is_the_identity_near_zero_monotone_and_bounded():
    clip, x = SmoothClip(), torch.linspace(-100, 100, 2001, dtype=torch.float64)
    y = clip(x)
    assert (y.diff() > 0).all() and (y.abs() < 3).all()
    torch.testing.assert_close(clip(-x), -y)
    small = torch.tensor([1e-3])
    torch.testing.assert_close(clip(small), small, rtol=1e-6, atol=0)
    assert clip(torch.tensor([3.0])).item() == pytest.approx(3 / 2**0.5)


def test_a_clip_leaves_the_first_weights_of_a_network_as_they_are():
    made = []
    for clipped in (False, True):
        torch.manual_seed(0)
        made.append(list(mlp(4, (3, 2), clipped)[0].parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))


def test_attention_with_equal_scores_is_the_mean_and_follows_the_highest_score():
    pool, x = Attention(3), torch.randn(2, 3, 5)
    torch.nn.init.zeros_(pool.score[2].weight)
    torch.testing.assert_close(pool(x), x.mean(2))
    torch.nn.init.constant_(pool.score[0].weight, 0.0)
    pool.score[0].weight.data[0, 0] = 50.0  # looks at the first channel alone
    pool.score[0].bias.data.zero_()
    torch.nn.init.constant_(pool.score[2].weight, 1000.0)
    x[:, 0] = torch.tensor([-1.0, -1.0, 1.0, -1.0, -1.0])
    torch.testing.assert_close(pool(x), x[:, :, 2])


def test_a_signal_network_with_attention_reads_signals_of_any_length():
    net = SignalResNet(2, (4, 8), attention=True)
    assert net(torch.randn(3, 2, 64)).shape == net(torch.randn(3, 2, 200)).shape == (3, 8)


def test_a_shipped_table_read_by_another_encoder_is_the_same_data_under_a_name_of_its_own():
    plain, other = WORKLOADS["nhanes-sbp"], WORKLOADS["nhanes-sbp@resnet"]
    assert other is WORKLOADS["nhanes-sbp@resnet"]
    assert (other.name, other.load, other.settings) == ("nhanes-sbp@resnet", plain.load, plain.settings)
    assert "nhanes-sbp@resnet" in WORKLOADS and "nhanes-sbp@resnet" not in list(WORKLOADS)
    data = other.load(None)
    recipe = Recipe.parse("l1")
    run = start(other, data, recipe, settle(recipe, other.settings, {"train.epochs": 1}), 0, torch.device("cpu"))
    assert all(torch.tensor(epoch.loss).isfinite() for epoch in run)
    cells = expand(study(workloads=["nhanes-sbp", "nhanes-sbp@resnet"], recipes={"also": ["l1"]}))
    assert [cell.name for cell in cells] == ["nhanes-sbp/l1", "nhanes-sbp@resnet/l1"]
    assert len({cell.trial("tune", 0, {}).id for cell in cells}) == 2


@pytest.mark.parametrize("name", ["nhanes-sbp@lstm", "nowhere@mlp", "digits-lt@mlp", "@mlp", "nhanes-sbp@"])
def test_an_encoder_that_is_not_of_the_kind_of_a_data_set_is_refused(name):
    assert name not in WORKLOADS
    with pytest.raises(BadInput, match=f"no workload '{name}'"):
        expand(study(workloads=[name]))
