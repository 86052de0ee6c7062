"""Label distribution smoothing."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Final

import numpy as np
import torch
from scipy.ndimage import convolve1d
from torch import Tensor

from workloads.hparams import Choice, Declared, Float, Int, Only
from workloads.labels import Floats, Ints, LabelGrid, kernel_window
from workloads.seam import Method, Step, TrainLabels

SCHEMES: Final[dict[str, Callable[[Ints], Floats]]] = {
    "sqrt_inv": lambda counts: np.sqrt(counts.astype(np.float64)),
    "inverse": lambda counts: np.clip(counts, 5, 1000).astype(np.float64),
    "none": lambda counts: np.ones(len(counts)),
}
"""What is smoothed and inverted. The transform comes *before* the smoothing, as in the published code."""


def lds_weights(
    labels: Tensor,
    grid: LabelGrid,
    scheme: str = "sqrt_inv",
    kernel: str | None = None,
    width: int = 5,
    sigma: float = 2.0,
) -> Tensor:
    """Weight of every label, `[N]` float32, with mean 1 over the labels.

        c = transform(counts);   w_i ∝ 1 / (window * c)[bin_i]

    `window` has peak 1 and zero padding at both ends; without a kernel c is used as it is. Smoothing is done in
    float64: the published code truncates smoothed `inverse` counts to integers (up to 3.8 % of a weight on AgeDB).
    Source: Yang et al., ICML 2021, arXiv:2102.09554, Sec. 3.1.
    """
    bins = grid.bin(labels.numpy())
    density = SCHEMES[scheme](np.bincount(bins, minlength=grid.bins))
    if kernel is not None and scheme != "none":
        density = convolve1d(density, weights=kernel_window(kernel, width, sigma), mode="constant")
    weights = 1.0 / density[bins]
    return torch.from_numpy(weights * (len(weights) / weights.sum())).float()


class LDS(Method):
    """Weigh every sample by the inverse of a smoothed label density.

        w_i ∝ 1 / (window * c)[bin_i],   c = √counts or counts clipped to [5, 1000],   mean over the training set 1

    Defaults are those of the published commands for the age data sets.
    """

    source: ClassVar[str] = "Yang et al., ICML 2021, arXiv:2102.09554, Sec. 3.1"
    joins: ClassVar[int] = 1
    slot: ClassVar[str | None] = "density"

    class Hparams(Declared):
        """Window and scheme; `width` in bins, `sigma` in bins."""

        scheme: Annotated[str, Choice("sqrt_inv", "inverse", tune=False)] = "sqrt_inv"
        kernel: Annotated[str, Choice("gaussian", "triang", "laplace")] = "gaussian"
        width: Annotated[int, Int(3, 15, step=2)] = 5
        sigma: Annotated[float, Float(0.5, 4.0, log=True), Only(kernel=("gaussian", "laplace"))] = 2.0

    hparams: Hparams
    weights: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Compute the weight of every training row, `[N]`."""
        p = self.hparams
        self.register_buffer("weights", lds_weights(train.y, train.grid, p.scheme, p.kernel, p.width, p.sigma))

    def weigh(self, step: Step) -> Tensor:
        """Weight of every sample, `[B]`."""
        return self.weights[step.batch.index]
