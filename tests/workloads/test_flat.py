"""Weights as one vector: the optimizer moves them as it would move each alone."""

import pytest
import torch
from torch import nn

from workloads.flat import Flat
from workloads.training import OPTIMIZERS, Training

SIZES = ((128, 85), (128,), (7, 128), (7,), (1, 7), (1,))


def weights() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(size, generator=generator)) for size in SIZES]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_an_optimizer_gives_every_weight_the_digits_that_it_has_alone(optimizer: str, decay: float) -> None:
    p = Training(optimizer=optimizer, weight_decay=decay, lr=0.01)
    alone, together = weights(), weights()
    flat = Flat(together)
    by_weight, at_once = OPTIMIZERS[optimizer](alone, p), OPTIMIZERS[optimizer]([flat.whole], p)
    generator = torch.Generator().manual_seed(1)
    for _ in range(30):
        by_weight.zero_grad()
        at_once.zero_grad()
        flat.clear()
        for a, b in zip(alone, together, strict=True):
            slope = torch.randn(a.shape, generator=generator)
            (a * slope).sum().backward()
            (b * slope).sum().backward()
        by_weight.step()
        at_once.step()
    assert not any(torch.equal(a, before) for a, before in zip(alone, weights(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_weights_keep_their_values_and_lie_where_products_round_as_they_would_alone() -> None:
    alone, together = weights(), weights()
    flat = Flat(together)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert all(b.data_ptr() % 64 == flat.whole.data_ptr() % 64 for b in together)


def test_gradients_are_gone_after_clearing() -> None:
    together = weights()
    flat = Flat(together)
    flat.clear()
    sum(w.sum() for w in together).backward()  # type: ignore[union-attr]
    assert flat.whole.grad is not None and float(flat.whole.grad.sum()) == sum(w.numel() for w in together)
    flat.clear()
    assert not flat.whole.grad.any() and not any(w.grad.any() for w in together if w.grad is not None)
