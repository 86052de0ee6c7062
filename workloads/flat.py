"""Weights as one vector: a step of the optimizer is then one pass over it, instead of some ten for every weight."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import nn

ALIGNED: Final = 16
"""Every weight starts at a multiple of so many numbers, 64 bytes: products round by how operands lie in memory."""


class Flat:
    """The weights of a network as one parameter, `whole` `[P]`, of which they become views, and their gradients, too.

    For networks all of whose weights take part in every step: one without a gradient would be given a gradient of 0.
    """

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        places = [-(-weight.numel() // ALIGNED) * ALIGNED for weight in weights]
        self.whole = nn.Parameter(weights[0].new_zeros(sum(places)))
        self._grad = torch.zeros_like(self.whole)
        pieces = zip(weights, torch.split(self.whole.data, places), torch.split(self._grad, places), strict=True)
        for weight, values, gradient in pieces:
            held = values[: weight.numel()].view_as(weight)
            weight.data = held.copy_(weight.data)
            weight.grad = gradient[: weight.numel()].view_as(weight)

    def clear(self) -> None:
        """Set the gradients to 0 for the next step."""
        self.whole.grad = self._grad.zero_()
