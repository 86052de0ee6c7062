"""Encoders of tables: rows of numbers `[B, F]` to features `[B, D]`."""

from collections.abc import Sequence

from torch import nn


def mlp(inputs: int, hidden: Sequence[int]) -> tuple[nn.Module, int]:
    """Fully connected layers with ReLU after each; features have the width of the last one."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers), inputs
