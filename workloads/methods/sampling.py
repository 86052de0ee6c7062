"""Balanced sampling: rare bins are drawn as often as common ones."""

from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from workloads.hparams import Declared, Float
from workloads.labels import Floats, Ints
from workloads.seam import Method, TrainLabels


def row_chances(bins: Ints, counts: Ints, power: float) -> Floats:
    """Chance of every training row `[N]` to be drawn, with mean 1, from its bin and the counts `[M]`."""
    chance = counts[bins].astype(np.float64) ** -power
    return np.asarray(chance / chance.mean())


class BalancedSampling(Method):
    """Draw the rows of every batch so that each bin comes as often as another.

        chance of row i ∝ n_b(i)^(−power)

    With replacement, and as many rows in an epoch as there are, so that a recipe costs what it costs without.
    `power = 1` draws every bin that has training rows equally often, ½ is square-root sampling. Under `rrt` it acts in
    the second stage, on a fresh head and a frozen encoder: `cross_entropy + balanced + rrt` is the classifier
    re-training (cRT) of the paper, but that the stages share the epochs.

    It fills the slot of the weights from label density: with both, rare labels would count twice.
    """

    source: ClassVar[str] = "Kang et al., ICLR 2020, arXiv:1910.09217, Sec. 3 and 4.1"
    note: ClassVar[str] = "reference code BSD, not used here"
    joins: ClassVar[int] = 1
    dense: ClassVar[bool] = False
    slot: ClassVar[str | None] = "density"

    class Hparams(Declared):
        """`power` of the count, as published 1 or ½."""

        power: Annotated[float, Float(0.1, 1.0)] = 1.0

    hparams: Hparams
    chances: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Compute the chance of every training row, `[N]`."""
        chances = torch.from_numpy(row_chances(train.bins, train.counts, self.hparams.power))
        self.even = bool((chances == chances[0]).all())
        self.register_buffer("chances", chances, persistent=False)

    def draw(self) -> Tensor | None:
        """The chances; None where all are equal."""
        return None if self.even else self.chances
