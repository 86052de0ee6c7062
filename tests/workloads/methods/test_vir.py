"""Variational imbalanced regression: its loss with pseudo-counts, and its features, against loops."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from workloads.labels import LabelGrid, kernel_window
from workloads.methods.vir import VIR, bin_moments
from workloads.objectives.vir import PseudoCounts
from workloads.seam import Batch, Step, TrainLabels

GRID = LabelGrid(0, 5, 5)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def loss_by_hand(out: Tensor, y: float, w: float) -> Tensor:
    n = 2 + 10 * torch.log(1 + torch.exp(out[1] / 10))
    beta = 10 * torch.log(1 + torch.exp(out[2] / 10))
    nu, alpha, gamma = n * w, 0.3 + n * w / 2, out[0]
    likelihood = (
        0.5 * torch.log(math.pi / nu)
        - alpha * torch.log(2 * beta * (1 + nu))
        + (alpha + 0.5) * torch.log(nu * (y - gamma) ** 2 + 2 * beta * (1 + nu))
        + torch.lgamma(alpha)
        - torch.lgamma(alpha + 0.5)
    )
    return likelihood + 0.01 * abs(y - gamma) * (2 * nu + alpha)


def step_of(out: Tensor, y: Tensor, w: Tensor | float) -> Step:
    batch = Batch(y, y, y.long(), torch.arange(len(y)), 0, 0)
    return Step(batch, out, out, out, out[:, 0], lambda x: x, w)


@pytest.mark.parametrize("w", [1.0, 0.2, 7.0])
def test_the_loss_and_its_gradient_equal_the_formula_with_weights_as_counts(w: float) -> None:
    objective = PseudoCounts(PseudoCounts.Hparams())
    out = (5.0 * drawn(4, 3)).requires_grad_()
    y = torch.tensor([1.0, 2.0, 3.0, float(out[3, 0].detach())], dtype=torch.float64)  # the last is an exact hit
    ours = objective.weighted(step_of(out, y, torch.full((4,), w)))
    loops = torch.stack([loss_by_hand(row, float(label), w) for row, label in zip(out, y, strict=True)])
    assert_close(ours, loops, rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(loss.sum(), out, retain_graph=True)[0] for loss in (ours, loops)]
    assert_close(*gradients, rtol=1e-5, atol=1e-7)
    assert torch.equal(objective(step_of(out, y, 3.0)), objective.weighted(step_of(out, y, 1.0)))


def test_a_weight_of_0_leaves_a_finite_loss() -> None:
    objective = PseudoCounts(PseudoCounts.Hparams())
    out = torch.tensor([[1.0, -5000.0, -5000.0]], requires_grad=True)
    loss = objective.weighted(step_of(out, torch.tensor([1.0]), torch.zeros(1)))
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite().all() and out.grad is not None and out.grad.isfinite().all()


LABELS = [0.0, 0.0, 0.0, 1.0, 1.0, 3.0, 4.0]  # no row in bin 2, one in bins 3 and 4


def test_moments_of_bins_equal_the_loops() -> None:
    mean, var, bins = drawn(7, 3), drawn(7, 3, seed=1).abs(), torch.tensor(LABELS).long()
    held, centre, noise, spread = bin_moments(mean, var, bins, 5)
    assert held.tolist() == [3, 2, 0, 1, 1]
    for b in range(5):
        rows = [i for i in range(7) if LABELS[i] == b]
        if not rows:
            assert not centre[b].any() and not noise[b].any() and not spread[b].any()
            continue
        m = sum(mean[i] for i in rows) / len(rows)
        v = sum(var[i] for i in rows) / len(rows) ** 2
        s = sum(var[i] - v + mean[i] ** 2 - m**2 for i in rows) / len(rows)
        assert_close((centre[b], noise[b], spread[b]), (m, v, s), rtol=1e-5, atol=1e-12)


def test_features_are_drawn_from_the_smoothed_distribution_of_their_bin() -> None:
    vir = VIR(VIR.Hparams.of({"width": 3, "sigma": 1.0}, "vir"))
    vir.fit(TrainLabels(torch.tensor(LABELS), GRID, 3, 4))
    vir.double().seed(0, torch.device("cpu"))
    labels = torch.tensor(LABELS)
    for epoch in range(2):
        vir.update(drawn(7, 3, seed=epoch), labels)

    # The same by loops over bins: averages over two epochs, then a window over the bins that have rows.
    window = kernel_window("gaussian", 3, 1.0, normalize="sum").tolist()
    held: dict[int, list[Tensor]] = {}
    for epoch in range(2):
        z = drawn(7, 3, seed=epoch)
        var = torch.log(1 + torch.exp(z @ vir.scatter.weight.T + vir.scatter.bias)).detach()
        _, *fresh = bin_moments(z, var, labels.long(), 5)
        for b in {int(label) for label in LABELS}:
            new = [values[b] for values in fresh]
            held[b] = [0.9 * old + 0.1 * now for old, now in zip(held[b], new, strict=True)] if epoch else new
    reflected = {-1: 1, 5: 3}
    z = drawn(4, 3, seed=5)
    given = [0.0, 1.0, 3.0, 4.0]
    batch = Batch(z, torch.tensor(given), torch.tensor(given).long(), torch.arange(4), 2, 0)
    ours = vir.calibrate(z, batch)
    noise = torch.randn((4, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for row, b in enumerate(int(label) for label in given):
        near = [
            (window[k + 1], held[reflected.get(b + k, b + k)])
            for k in (-1, 0, 1)
            if reflected.get(b + k, b + k) in held
        ]
        total = sum(share for share, _ in near)
        m, v, s = (sum(share * values[i] for share, values in near) / total for i in range(3))
        r = (s / held[b][2]).clamp(0.1, 10.0).sqrt() if held[b][2].all() else torch.ones(3)  # one row: no spread
        own = torch.log(1 + torch.exp(vir.scatter.weight @ z[row] + vir.scatter.bias))
        expected = (z[row] - held[b][0]) * r + m + ((own + held[b][1]) * r + v).sqrt() * noise[row]
        assert_close(ours[row], expected, rtol=1e-5, atol=1e-7)


def test_at_first_features_are_those_of_the_encoder_and_only_drawn() -> None:
    vir = VIR(VIR.Hparams())
    vir.fit(TrainLabels(torch.tensor(LABELS), GRID, 3, 4))
    vir.seed(0, torch.device("cpu"))
    z, y = drawn(4000, 3).float(), torch.zeros(4000)
    assert torch.equal(vir.map(z), z)
    made = vir.calibrate(torch.zeros(4000, 3), Batch(z, y, y.long(), y.long(), 0, 0))
    var = torch.log(1 + torch.exp(vir.scatter.bias))
    assert_close(made.var(0), var, rtol=0.1, atol=0)
