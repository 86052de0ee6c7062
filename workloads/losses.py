"""Losses of one prediction and one target, elementwise: objectives and methods share them."""

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor


def huber(pred: Tensor, target: Tensor, beta: float = 1.0) -> Tensor:
    """Squared near the target, absolute beyond `beta` label units.

        e²/(2β) if e < β else e − β/2,   e = |pred − target|

    Source: Huber 1964, as scaled in Yang et al., ICML 2021; β = 1 for ages, 0.3 for STS-B scaled to [0, 1].
    """
    return torch.nn.functional.smooth_l1_loss(pred, target, reduction="none", beta=beta)


ACTIVATIONS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "sigmoid": lambda scaled: torch.tanh(scaled / 2.0),  # = 2σ(u) − 1, which rounds small u to 0
    "tanh": torch.tanh,
}
"""Growing from 0 to 1 with the scaled error. The factor 2σ − 1 is the published code's; the paper prints σ."""


def focal(
    pred: Tensor, target: Tensor, power: int = 1, beta: float = 0.2, gamma: float = 1.0, activation: str = "sigmoid"
) -> Tensor:
    """Focal-R: an error counts the more, the larger it is; shaped like `pred`.

        e^power · s(β e)^γ,   e = |pred − target|,   s(u) = 2σ(u) − 1 or tanh(u)

    The factor is not detached, and `power = 2` keeps |e| inside s, both as in the published code. β is per label unit:
    0.2 for ages, 20 for STS-B scaled to [0, 1]. At an exact hit value and gradient are 0 for every γ > 0; there the
    published code, which only runs γ = 1, has the gradient 0 · ∞ for γ < 1. Source: Yang et al., ICML 2021,
    arXiv:2102.09554, Sec. 4.1.
    """
    error = (pred - target).abs()
    grown = ACTIVATIONS[activation](beta * error)
    hit = grown == 0.0
    # At a hit the power is taken of 1: its slope at 0 is infinite, and autograd multiplies it by 0 even behind `where`.
    factor = torch.where(hit, 1.0, grown) ** gamma
    return torch.where(hit, torch.zeros_like(error), error**power * factor)


ELEMENTWISE: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "l1": lambda pred, target: (pred - target).abs(),
    "mse": lambda pred, target: (pred - target).square(),
    "huber": huber,
    "focal_l1": focal,
}
"""The losses by name, at the settings that are published for ages."""
