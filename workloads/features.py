"""The training set encoded when a method asks: whole, or a piece at a time where it is large."""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import torch
from torch import Tensor

CHUNK_VALUES: Final = 1 << 26
"""Most values in a chunk, 256 MB: 32,768 samples of 2,048 features, and so all of a small data set."""

Batches: TypeAlias = Callable[[bool], Iterator[tuple[Tensor, Tensor]]]
"""Places `[n]`, on the CPU, and features `[n, D]` of all samples, in batches of a pass in training mode or not."""


class Encoded:
    """`seam.Features` of a training set with these labels; what was encoded whole is kept for who asks next."""

    def __init__(self, labels: Tensor, batches: Batches) -> None:
        self.labels = labels
        self._batches = batches
        self._whole: dict[bool, Tensor] = {}

    def __call__(self, train_mode: bool = False) -> tuple[Tensor, Tensor]:
        """Features `[N, D]` in the order of the table, and labels `[N]`."""
        if train_mode not in self._whole:
            made: Tensor | None = None
            for places, z in self._batches(train_mode):
                made = z.new_empty(len(self.labels), *z.shape[1:]) if made is None else made
                made[places.to(z.device)] = z
            assert made is not None  # a training set has rows
            self._whole[train_mode] = made
        return self._whole[train_mode], self.labels

    def chunks(self, train_mode: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """Places `[n]`, ascending, and features `[n, D]`; where there is one chunk, it is the whole."""
        if train_mode in self._whole:
            yield torch.arange(len(self.labels)), self._whole[train_mode]
            return
        held: list[tuple[Tensor, Tensor]] = []
        for places, z in self._batches(train_mode):
            if held and sum(each.numel() for _, each in held) + z.numel() > CHUNK_VALUES:
                yield _in_order(held)
                held = []
            held.append((places, z))
        places, z = _in_order(held)
        if len(places) == len(self.labels):
            self._whole[train_mode] = z
        yield places, z


def _in_order(batches: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Several batches as one, by ascending places."""
    places, order = torch.cat([places for places, _ in batches]).sort()
    z = torch.cat([z for _, z in batches])
    return places, z if torch.equal(order, torch.arange(len(order))) else z[order.to(z.device)]
