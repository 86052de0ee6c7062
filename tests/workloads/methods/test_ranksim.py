"""The ranking loss against the loop over anchors."""

import pytest
import torch
from torch.testing import assert_close

from bench import reference
from published import agedb, stsb
from workloads.methods.ranksim import one_per_label, ranks, ranksim_loss


def both(z, y, strength, gamma):
    """Loss and gradient of ours and of the loops, where gamma multiplies the loss from outside."""
    results = []
    for loss in (ranksim_loss, reference.ranksim_loss):
        leaf = z.clone().requires_grad_()
        total = gamma * loss(leaf, y, strength)
        total.backward()
        results.append((total.detach(), leaf.grad))
    return results


@pytest.mark.parametrize(("m", "dim"), [(2, 3), (5, 2), (12, 17), (31, 8)])
@pytest.mark.parametrize("strength", [0.1, 2.0, 10.0])
@pytest.mark.parametrize("gamma", [3e-4, 1.0, 100.0])
def test_loss_and_gradient_equal_the_loop_over_anchors(m, dim, strength, gamma):
    generator = torch.Generator().manual_seed(m)
    y = torch.randperm(80, generator=generator)[:m].sort().values.double()
    z = torch.randn(m, dim, generator=generator, dtype=torch.float64)
    (loss, grad), (golden, golden_grad) = both(z, y, strength, gamma)
    assert_close(loss.double(), golden, rtol=1e-5, atol=0)
    assert_close(grad, golden_grad, rtol=1e-5, atol=1e-6 * gamma)


@pytest.mark.parametrize("labels", [agedb, stsb])
def test_loss_and_gradient_equal_the_loop_on_published_labels(labels):
    generator = torch.Generator().manual_seed(0)
    y = labels("train").unique()[:40]
    z = torch.randn(len(y), 16, generator=generator, dtype=torch.float64)
    (loss, grad), (golden, golden_grad) = both(z, y, 2.0, 1.0)
    assert_close(loss.double(), golden, rtol=1e-5, atol=0)
    assert_close(grad, golden_grad, rtol=1e-5, atol=1e-6)


def test_a_weight_inside_gives_the_gradient_of_a_weight_outside_and_is_linear_in_what_comes_from_above():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(20.0)
    z = torch.randn(20, 6, generator=generator)
    grads = []
    for scale, factor, weight in ((1.0, 100.0, None), (1.0, 1.0, 100.0), (65536.0, 1.0, 100.0)):
        leaf = z.clone().requires_grad_()
        (scale * factor * ranksim_loss(leaf, y, 2.0, weight=weight)).backward()
        grads.append(leaf.grad / scale)
    assert grads[0].abs().sum() > 0
    assert_close(grads[0], grads[1])
    assert_close(grads[0], grads[2])


def test_four_scores_rank_as_done_by_hand():
    scores = torch.tensor([[0.1, 0.9, 0.9, -1.0]])
    assert ranks(scores).tolist() == [[0.75, 0.5, 0.25, 1.0]]  # of equal scores the later one comes first
    assert reference.rank(scores[0]).tolist() == ranks(scores)[0].tolist()


def test_features_in_the_order_of_the_labels_cost_nothing():
    angle = torch.arange(8.0) ** 1.1 / 8
    z = torch.stack([angle.cos(), angle.sin()], dim=1)
    assert ranksim_loss(z, angle, 2.0).item() == 0.0
    shuffled = z[[3, 1, 0, 2, 7, 5, 6, 4]]
    assert ranksim_loss(shuffled, angle, 2.0).item() > 0.3


def test_one_random_row_stands_for_every_label():
    labels = torch.tensor([5.0, 2.0, 5.0, 2.0, 9.0, 5.0])
    seen = set()
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        rows = one_per_label(labels, generator)
        assert labels[rows].tolist() == [2.0, 5.0, 9.0]
        seen.add(tuple(rows.tolist()))
    assert len(seen) == 6


def test_the_draw_comes_from_the_generator_alone():
    labels = torch.randint(0, 5, (40,), generator=torch.Generator().manual_seed(0)).float()
    first = one_per_label(labels, torch.Generator().manual_seed(7))
    torch.manual_seed(1)
    assert torch.equal(first, one_per_label(labels, torch.Generator().manual_seed(7)))
