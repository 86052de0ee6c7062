"""The training loop: what a pass over the training set does, where a stage starts, what is decayed and rounded."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from toys import DENSE, TOYS
from workloads.loop import Fit
from workloads.model import Model
from workloads.recipe import Recipe
from workloads.training import settle
from workloads.workload import Data, Table, Units, Workload

CPU = torch.device("cpu")
TOY = TOYS["regression"]
OFFICIAL = "l1 + fds"


class Watched(nn.Module):
    """Remembers what it is asked to encode without a gradient in training mode."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.passed: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not torch.is_grad_enabled():
            self.passed.append(x)
        z: Tensor = self.body(x)
        return z


def sorted_by_label() -> Data:
    """81 rows whose inputs are their label and their row."""
    y = torch.arange(81.0).div(3).floor()
    rows = Table(torch.stack([y, torch.arange(81.0)], dim=1), y)
    return Data(rows, rows, rows, Units(13.0, 10.0), "sorted")


def run_of(workload: Workload, data: Data, recipe: str, **settings: object) -> Fit:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    parsed = Recipe.parse(recipe)
    return Fit(workload, data, parsed, settle(parsed, workload.settings, named), 0, CPU)  # type: ignore[arg-type]


def watched(recipe: str, body: nn.Module, **settings: object) -> tuple[Fit, Watched]:
    encoder = Watched(body)
    toy = replace(TOY, encoder=lambda data: (encoder, 2), augment=lambda x: x + torch.tensor([0.0, 1000.0]))
    return run_of(toy, sorted_by_label(), recipe, train__batch_size=16, **settings), encoder


def test_the_official_statistics_pass_is_in_shuffled_augmented_batches_of_the_trainings_size() -> None:
    run, encoder = watched(OFFICIAL, nn.Identity(), fds__variant="official", train__epochs=3)
    list(run)
    sizes = [len(x) for x in encoder.passed]
    assert sizes == [16, 16, 16, 16, 17] * 3  # BatchNorm needs two rows, so the last one joins its neighbours
    orders = [torch.cat(encoder.passed[:5])[:, 1] - 1000.0, torch.cat(encoder.passed[5:10])[:, 1] - 1000.0]
    assert all(torch.equal(order.sort().values, torch.arange(81.0)) for order in orders)
    assert not torch.equal(*orders)
    assert all(x[:, 0].std() > 3 for x in encoder.passed)  # every batch holds labels from all over
    again, same = watched(OFFICIAL, nn.Identity(), fds__variant="official", train__epochs=3)
    list(again)
    assert torch.equal(torch.cat(encoder.passed), torch.cat(same.passed))


def test_the_pass_gives_the_features_in_the_order_of_the_table() -> None:
    run, _ = watched(OFFICIAL, nn.Identity())
    z, y = run._features(0)(train_mode=True)
    assert torch.equal(y, run.data.train.y)
    assert torch.equal(z, torch.stack([y, torch.arange(81.0) + 1000.0], dim=1))


def test_a_table_sorted_by_label_leaves_batchnorm_with_the_statistics_of_all_rows() -> None:
    norm = nn.BatchNorm1d(2)
    run, _ = watched(OFFICIAL, norm, fds__variant="official", train__epochs=8, train__keep="last")
    list(run)
    whole = run.data.train.y
    assert norm.running_mean is not None and norm.running_var is not None
    assert abs(float(norm.running_mean[0] - whole.mean())) < 0.2 * float(whole.std())
    assert float(norm.running_var[0]) == pytest.approx(float(whole.var()), rel=0.2)


def test_what_a_method_asks_for_leaves_the_order_of_training_as_it_is() -> None:
    losses = []
    for recipe, settings in (("l1", {}), (OFFICIAL, {"fds__variant": "official"})):
        run, _ = watched(recipe, nn.Linear(2, 2), train__epochs=3, **settings)
        losses.append([epoch.loss for epoch in run])
    assert losses[0][:2] == losses[1][:2]  # the official variant first acts in epoch 2
    assert losses[0][2] != losses[1][2]


def test_a_pass_over_maps_finds_the_scored_pixels_of_shuffled_images() -> None:
    toy = DENSE["regression"]
    run = run_of(replace(toy, encoder=lambda data: (nn.Identity(), 2)), toy.load(None), "l1 + fds")
    shuffled, y = run._features(0)(train_mode=True)
    in_order, _ = run._features(0)()
    assert torch.equal(shuffled, in_order) and torch.equal(y, run.data.train.y)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_retraining_starts_from_the_epoch_of_stage_1_that_is_kept(keep: str) -> None:
    for rate in (0.5, 0.3, 0.2):  # at such rates the last epoch is seldom the best; rounding decides, as CPUs differ
        run = run_of(TOY, TOY.load(None), "l1 + sqinv + fds + rrt", train__epochs=14, train__lr=rate, train__keep=keep)
        held: list[dict[str, Tensor]] = []
        for _ in run:
            state = run.model.state_dict()
            held.append({name: value.clone() for name, value in state.items() if torch.is_tensor(value)})
        scores = [epoch.score("val/mae/all") for epoch in run.curve[:7]]
        best = min(range(7), key=lambda i: scores[i])  # type: ignore[arg-type, return-value]
        if best != 6:
            break
    start = best if keep == "best" else 6
    assert best != 6
    encoder = [f"encoder.{name}" for name, _ in run.model.encoder.named_parameters()]
    assert all(torch.equal(held[13][name], held[start][name]) for name in encoder)
    assert not all(torch.equal(held[start][name], held[6 if start != 6 else best][name]) for name in encoder)


@pytest.mark.parametrize("stop", [6, 7, 8])
def test_a_run_continued_around_the_start_of_stage_2_equals_an_uninterrupted_one(stop: int) -> None:
    settings = {"train__epochs": 14, "train__lr": 0.3}
    recipe = "bmse + sqinv + fds + ranksim + rrt"
    whole = run_of(TOY, TOY.load(None), recipe, **settings)
    list(whole)
    first = run_of(TOY, TOY.load(None), recipe, **settings)
    for epoch in first:
        if epoch.epoch == stop - 1:
            break
    saved = first.state_dict()
    continued = run_of(TOY, TOY.load(None), recipe, **settings)
    continued.load_state_dict(saved)
    list(continued)
    assert [epoch.loss for epoch in whole.curve] == [epoch.loss for epoch in continued.curve]
    a, b = whole.model.state_dict(), continued.model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_weight_decay_pulls_at_the_network_and_not_at_the_noise_of_balanced_mse(optimizer: str) -> None:
    run = run_of(TOY, TOY.load(None), "bmse", train__weight_decay=0.5, train__optimizer=optimizer)
    noise = run.model.objective.log_noise
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    for p in run.model.parameters():
        p.grad = torch.zeros_like(p)
    run.optimizer.step()
    moved = {name for name, p in run.model.named_parameters() if not torch.equal(p, before[name])}
    assert noise in {p for group in run.optimizer.param_groups for p in group["params"]}
    assert moved == {name for name in before if name != "objective.log_noise" and before[name].any()}


def test_predictions_of_half_precision_features_are_not_rounded_to_it() -> None:
    model = Model(nn.Identity(), 64, Recipe("l1"), {}, Units())
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(2000, 64, generator=generator).bfloat16()
    with torch.no_grad():
        model.head.weight.normal_(0.0, 0.5, generator=generator)
        model.head.bias.fill_(43.0)
        exact = h.double() @ model.head.weight.double().T + 43.0
        with torch.autocast("cpu", torch.bfloat16):
            made = model.output(h)
    assert made.dtype == torch.float32
    assert float((made - exact).abs().max()) < 1e-4
    assert len(made.unique()) > 1900
