"""Label distribution smoothing."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import scipy
import torch
from torch import Tensor

from workloads.hparams import Choice, Declared, Float, Int, Law, Only
from workloads.labels import Floats, Ints, LabelGrid, kernel_window
from workloads.laws import OnGrid, Ordered
from workloads.seam import Method, Step, TrainLabels

SCHEMES: Final[Mapping[str, Callable[[Ints, tuple[int, int]], npt.NDArray[Any]]]] = {
    "sqrt_inv": lambda counts, clip: np.sqrt(counts),
    "inverse": lambda counts, clip: np.clip(counts, *clip),
    "none": lambda counts, clip: np.ones(len(counts)),
}
"""What is smoothed and inverted. The transform comes *before* the smoothing, as in the published code."""

BORDERS: Final[Mapping[str, Literal["constant", "reflect"]]] = {"zero": "constant", "reflect": "reflect"}
"""What the window sees beyond the grid, in the words of scipy."""


def density_weights(
    counts: Ints,
    scheme: str = "sqrt_inv",
    kernel: str | None = None,
    width: int = 5,
    sigma: float = 2.0,
    clip: tuple[int, int] = (5, 1000),
    truncate: bool = True,
    border: str = "zero",
    first_bin: int = 0,
) -> Floats:
    """Weight of every bin, `[M]`, with mean 1 over the samples that `counts` `[M]` counts; 0 where nothing is near.

        c = transform(counts);   w_b ∝ 1 / (window * c)_b

    `clip` bounds the counts of `inverse` (ages: 5 and 1000; the other published data sets do not clip). `truncate`
    drops the decimals of smoothed `inverse` counts, as the published code does (up to 3.8 % of a weight on AgeDB).
    Bins below `first_bin` are left out of the smoothing and get its weight (NYUD2: 7, with `border = "reflect"`).
    Raises ValueError where there is nothing to weigh by.
    """
    if clip[0] > clip[1]:
        raise ValueError(f"clip_low must not exceed clip_high: got {clip[0]} and {clip[1]}")
    if first_bin >= len(counts):
        raise ValueError(f"first_bin must be a bin of the grid, 0 … {len(counts) - 1}: got {first_bin}")
    density = SCHEMES[scheme](counts, clip)[first_bin:]
    if kernel is not None and scheme != "none":
        window = kernel_window(kernel, width, sigma)
        # scipy answers in the type it is given: whole numbers for whole numbers.
        density = scipy.ndimage.convolve1d(
            density if truncate else density.astype(np.float64), window, mode=BORDERS[border]
        )
    density = np.concatenate([np.full(first_bin, density[0]), density]).astype(np.float64)
    weights = np.divide(1.0, density, out=np.zeros_like(density), where=density > 0)
    return np.asarray(weights * (counts.sum() / (counts @ weights)))


def lds_weights(
    labels: Tensor,
    grid: LabelGrid,
    scheme: str = "sqrt_inv",
    kernel: str | None = None,
    width: int = 5,
    sigma: float = 2.0,
    *,
    clip: tuple[int, int] = (5, 1000),
    truncate: bool = True,
    border: str = "zero",
    first_bin: int = 0,
) -> Tensor:
    """Weight of every label, shaped like `labels` (`[N]`, or dense), float32, with mean 1 over the labels.

        c = transform(counts);   w_i ∝ 1 / (window * c)[bin_i]

    `window` has peak 1; `scheme` is `sqrt_inv` (√counts), `inverse` (clipped counts) or `none`; without a kernel c is
    used as it is. The keywords are those of `density_weights`, with the published values for ages; pass
    `clip=(0, 10**9)` for the other data sets. Source: Yang et al., ICML 2021, arXiv:2102.09554, Sec. 3.1.
    """
    bins = grid.bin(labels.numpy())
    weights = density_weights(
        grid.counts(labels.numpy()), scheme, kernel, width, sigma, clip, truncate, border, first_bin
    )
    return torch.from_numpy(weights[bins]).float()


class LDS(Method):
    """Weigh every sample by the inverse of a smoothed label density.

        w_i ∝ 1 / (window * c)[bin_i],   c = √counts or clipped counts,   mean over the training set 1

    The window has peak 1 and sees zeros beyond the grid, so the rarest labels at the ends gain most. As in the
    published code it smooths the *transformed* counts (smooth(√n), not √smooth(n)), and smoothed `inverse` counts are
    truncated to whole numbers unless `truncate` is off.

    Defaults are those of the published commands for ages; STS-B: inverse, no clip; NYUD2: inverse, no clip, border
    reflect, first bin 7.
    """

    source: ClassVar[str] = "Yang et al., ICML 2021, arXiv:2102.09554, Sec. 3.1"
    note: ClassVar[str] = "reference code MIT"
    joins: ClassVar[int] = 1
    slot: ClassVar[str | None] = "density"

    class Hparams(Declared):
        """Window and scheme; `width`, `sigma` in bins, `clip_low`, `clip_high` in training rows."""

        scheme: Annotated[str, Choice("sqrt_inv", "inverse", tune=False)] = "sqrt_inv"
        kernel: Annotated[str, Choice("gaussian", "triang", "laplace")] = "gaussian"
        width: Annotated[int, Int(3, 15, step=2)] = 5
        sigma: Annotated[float, Float(0.5, 4.0, log=True), Only(kernel=("gaussian", "laplace"))] = 2.0
        clip_low: Annotated[int, Int(0, 10**9, tune=False), Only(scheme=("inverse",))] = 5
        clip_high: Annotated[int, Int(1, 10**9, tune=False), Only(scheme=("inverse",))] = 1000
        truncate: Annotated[bool, Choice(True, False, tune=False), Only(scheme=("inverse",))] = True
        border: Annotated[str, Choice(*BORDERS, tune=False)] = "zero"
        first_bin: Annotated[int, Int(0, 100_000, tune=False)] = 0

        laws: ClassVar[tuple[Law, ...]] = (Ordered("clip_low", "clip_high"), OnGrid("first_bin"))

    hparams: Hparams
    weights: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Compute the weight of every bin, `[M]`."""
        p = self.hparams
        clip = (p.clip_low, p.clip_high)
        weights = density_weights(
            train.counts, p.scheme, p.kernel, p.width, p.sigma, clip, p.truncate, p.border, p.first_bin
        )
        self.register_buffer("weights", torch.from_numpy(weights).float())

    def weigh(self, step: Step) -> Tensor:
        """Weight of every sample, `[B]`, or of every pixel, `[B, …]`."""
        return self.weights[step.batch.bin]
