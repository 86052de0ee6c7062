"""DenseWeight: weights that fall with the density of the label."""

from typing import Annotated, ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from workloads.density import gaussian_kde, spread
from workloads.hparams import Declared, Float
from workloads.seam import Method, Step, TrainLabels

POINTS: Final = 4096
"""Points at which the density is kept, as published; between them it is read off linearly."""
BEYOND: Final = 4.0
"""Bandwidths by which the points reach beyond the labels, where the density is 0 for all that a weight can tell."""


class DenseWeight(Method):
    """Weigh every sample by how sparse the training labels are around its own.

        w(y) ∝ max(1 − α p(y), ε),   mean over the training set 1

    p is a Gaussian KDE of the training labels, scaled to [0, 1] by its least and largest value over 4,096 points (here
    from 4 bandwidths below the labels to 4 above). α near 0 weighs all alike; α = 1 gives the most common label ε;
    above, all labels denser than 1/α of the mode get ε. Weights are functions of the label itself, not of its bin.

    The bandwidth is 1.06 · s · N^(−1/5) times `bandwidth` (1 published), s = standard deviation of the labels.
    """

    source: ClassVar[str] = "Steininger et al., Machine Learning 110, 2021, doi 10.1007/s10994-021-06023-5"
    note: ClassVar[str] = "reference code MIT"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    joins: ClassVar[int] = 1
    slot: ClassVar[str | None] = "density"

    class Hparams(Declared):
        """`alpha`, `epsilon` as published; `bandwidth` as a multiple of the published rule (ours)."""

        alpha: Annotated[float, Float(0.1, 2.0)] = 1.0
        epsilon: Annotated[float, Float(1e-9, 0.5, log=True, tune=False)] = 1e-6
        bandwidth: Annotated[float, Float(0.1, 10.0, log=True, tune=False)] = 1.0

    hparams: Hparams
    weights: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Compute the weights at the points, `[4096]`."""
        p = self.hparams
        values, counts, deviation = spread(train.y.numpy())
        rule = 1.06 * deviation * len(train.y) ** -0.2
        width = p.bandwidth * rule or train.grid.width  # labels may all be equal
        points = np.linspace(values[0] - BEYOND * width, values[-1] + BEYOND * width, POINTS)
        density = gaussian_kde(values, counts, width, points)
        density = (density - density.min()) / np.ptp(density)
        self.low, self.step = float(points[0]), float(points[1] - points[0])
        weights = np.maximum(1.0 - p.alpha * density, p.epsilon)
        mean = float(np.average(np.interp(values, points, weights), weights=counts))
        self.register_buffer("weights", torch.from_numpy(weights / mean).float())

    def weigh(self, step: Step) -> Tensor:
        """Weight of every sample, `[B]`; a label beyond the points has that of the last one."""
        place = ((step.batch.y - self.low) / self.step).clamp(0.0, POINTS - 1.0)
        left = place.floor().clamp(max=POINTS - 2.0)
        at = left.long()
        return torch.lerp(self.weights[at], self.weights[at + 1], (place - left).to(self.weights.dtype))
