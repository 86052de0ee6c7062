"""Reconstruction of inputs: values and gradients against loops, its inputs, and what it refuses."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from toys import DENSE, TOYS
from workloads.hparams import Value
from workloads.labels import LabelGrid
from workloads.loop import Fit
from workloads.methods.reconstruct import MOST, SAMPLED, Reconstruct
from workloads.recipe import Recipe
from workloads.seam import Batch, Step, TrainLabels
from workloads.trainers import check
from workloads.training import settle
from workloads.workload import Data, Table, Units, Workload

CPU = torch.device("cpu")
GRID = LabelGrid(0, 30, 30)
TOY = TOYS["regression"]


def made(inputs: Tensor, dim: int = 4, **hparams: Value) -> Reconstruct:
    torch.manual_seed(0)
    method = Reconstruct(Reconstruct.Hparams.of({"hidden": 3, **hparams}, "reconstruct"))
    method.fit(TrainLabels(torch.zeros(len(inputs)), GRID, dim, 8, inputs=lambda rows: inputs[rows]))
    return method


def step_of(x: Tensor, z: Tensor, h: Tensor) -> Step:
    y = torch.zeros(len(z))
    return Step(Batch(x, y, y.long(), y.long(), 0, 0), z, h, h, y, lambda x: x)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("weight", [0.7, 3.0])
def test_the_penalty_and_its_gradients_equal_the_formula(weight: float) -> None:
    inputs = 3.0 * drawn(20, 2, 3) + 5.0  # a pair of vectors: both are flat
    method = made(inputs, weight=weight).double()
    x, h = inputs[4:9] + 0.5, drawn(5, 4, seed=1).requires_grad_()
    ours = method.penalty(step_of(x, torch.zeros(5, 4), h))
    first, _, last = method.decoder
    columns = [[float(inputs[i].flatten()[k]) for i in range(20)] for k in range(6)]
    means = [sum(column) / 20 for column in columns]
    variance = sum((v - m) ** 2 for column, m in zip(columns, means, strict=True) for v in column) / 120
    total = h.sum() * 0.0
    for i in range(5):
        hidden = [(first.weight[j] @ h[i] + first.bias[j]).clamp(min=0.0) for j in range(3)]
        for k in range(6):
            said = sum(last.weight[k, j] * hidden[j] for j in range(3)) + last.bias[k]
            total = total + ((x[i].flatten()[k] - means[k]) / variance**0.5 - said) ** 2
    loops = weight * total / 30
    assert ours is not None
    assert_close(ours, loops, rtol=1e-5, atol=0)
    learned = [h, *method.parameters()]
    for a, b in zip(*(torch.autograd.grad(loss, learned, retain_graph=True) for loss in (ours, loops)), strict=True):
        assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_a_decoder_that_knows_the_means_alone_has_the_penalty_of_the_weight() -> None:
    inputs = torch.cat([100.0 * drawn(50, 2), torch.full((50, 1), 7.0)], 1).float()  # one column never changes
    method = made(inputs)
    for own in method.parameters():
        torch.nn.init.zeros_(own)
    z = torch.zeros(50, 4, requires_grad=True)
    assert float(method.penalty(step_of(inputs, z, z)).detach()) == pytest.approx(0.7)  # type: ignore[union-attr]


def test_bytes_equal_inputs_and_rows_beyond_those_that_standardise_are_finite() -> None:
    pixels = torch.zeros(3 * SAMPLED, 2, 2, dtype=torch.uint8)
    method = made(pixels)
    z = torch.zeros(5, 4, requires_grad=True)
    assert float(method.scale) == 1.0
    assert method.penalty(step_of(pixels[:5] + 255, z, z)).isfinite()  # type: ignore[union-attr]


def test_it_decodes_what_the_head_sees_and_leaves_frozen_features_alone() -> None:
    x, z, h = drawn(6, 3).float(), torch.zeros(6, 4), drawn(6, 4).float().requires_grad_()
    method = made(x)
    value = method.penalty(step_of(x, z, h))
    assert value is not None
    assert torch.autograd.grad(value, h)[0].abs().sum() > 0
    assert method.penalty(step_of(x, z, h.detach())) is None


def test_the_members_of_an_ensemble_give_back_the_row_that_they_share() -> None:
    x, h = drawn(3, 2).float(), drawn(6, 4).float().requires_grad_()
    method = made(x)
    together = method.penalty(step_of(x, h, h))
    alone = [method.penalty(step_of(x, h[k::2], h[k::2])) for k in range(2)]
    assert_close(together, sum(alone) / 2)  # type: ignore[arg-type]


def run_of(recipe: str, settings: Mapping[str, Value] = {}) -> Fit:
    parsed = Recipe.parse(recipe)
    return Fit(TOY, TOY.load(None), parsed, settle(parsed, TOY.settings, settings), 0, CPU)


def test_a_run_learns_to_give_its_inputs_back() -> None:
    run = run_of("l1 + reconstruct + two_stages", {"train.epochs": 40, "two_stages.first": "none"})
    losses = [epoch.loss for epoch in run if epoch.stage == 0]  # an autoencoder
    assert losses[0] > 0.5 and losses[-1] < 0.5 * losses[0]


def test_variational_regression_decodes_its_draws() -> None:
    """With the paper's features the decoder sees another draw in every step, and the means at no time."""
    run = run_of("pseudo_counts + lds + vir + reconstruct")
    run.model.train()
    batch, seen = run.train.batch(torch.arange(32), 0, 0), []
    run.model.methods["reconstruct"].decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for _ in range(2):
        run.model.loss(batch)
    assert seen[0].shape == (32, 6) and not torch.equal(*seen)


@pytest.mark.parametrize("toy", [TOY, TOYS["classification"], DENSE["regression"]], ids=lambda toy: toy.name)
def test_a_part_is_given_the_training_inputs_as_they_are(toy: Workload) -> None:
    workload = replace(toy, augment=lambda x: x + 1.0)
    data = workload.load(None)
    given = workload.train_labels(data, 6, 24).inputs
    rows = torch.tensor([3, 0, 3])
    assert given is not None
    assert torch.equal(given(rows), data.train.inputs(rows, CPU))


def test_labels_alone_are_told_with_the_way_out() -> None:
    with pytest.raises(ValueError, match="reconstruct reads training inputs: got labels alone; give `inputs`"):
        Reconstruct(Reconstruct.Hparams()).fit(TrainLabels(torch.zeros(3), GRID, 4, 8))


REFUSED = {
    "words": (torch.zeros(2, 2, 40, dtype=torch.long), "this workload's are numbers of words"),
    "large images": (torch.zeros(2, 3, 224, 224, dtype=torch.uint8), "this workload's have 150,528"),
    "nights": (torch.zeros(2, MOST + 1), "this workload's have 16,385"),
}


@pytest.mark.parametrize(("inputs", "found"), REFUSED.values(), ids=REFUSED)
def test_inputs_that_cannot_be_given_back_are_refused_before_any_work(inputs: Tensor, found: str) -> None:
    rows = Table(inputs, torch.zeros(2))
    data = Data(rows, rows, rows, Units(), "")
    with pytest.raises(ValueError, match=f"reconstruct gives rows of at most 16,384 .* {found}: take frozen features"):
        check(Recipe("l1", ("vir", "reconstruct")), data)
    check(Recipe("l1", ("vir",)), data)


@pytest.mark.parametrize("shape", [(MOST,), (2, 384), (3, 32, 32)])
@pytest.mark.parametrize("kind", [torch.float32, torch.uint8])
def test_vectors_pairs_of_them_and_small_images_are_taken(shape: tuple[int, ...], kind: torch.dtype) -> None:
    rows = Table(torch.zeros((1, *shape), dtype=kind), torch.zeros(1))
    check(Recipe("l1", ("reconstruct",)), Data(rows, rows, rows, Units(), ""))
