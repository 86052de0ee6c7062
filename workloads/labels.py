"""The label axis: bins, counts, smoothing windows, shot regions. Numpy only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

REGIONS: Final = ("many", "medium", "few", "zero")
"""Names of the shot regions; `regions` returns positions in this tuple."""


@dataclass(frozen=True)
class LabelGrid:
    """Equal bins on [low, high]: bin b holds low + b·width ≤ y < low + (b + 1)·width; the last one holds `high` too.

    A label y is learnt as the float32 number t = (y − zero) / unit, taken in float64. `learnt_in = "bins"`: zero = low
    and unit = width, so t is the place on the grid, and neither the unit of the labels nor their offset reaches a loss,
    an optimiser or a hyperparameter. `"labels"`: zero = 0 and unit = 1, for data sets whose published settings are told
    in their units (years, scores).

    `edges` `[M + 1]` are float32 in label units, as the published code's are: with float64 edges whole STS-B bins move
    (bin 27 from 35 training pairs to 174). `steps` `[M + 1]` are the edges of t.
    """

    low: float
    high: float
    bins: int
    learnt_in: Literal["bins", "labels"] = field(default="bins", repr=False)
    edges: npt.NDArray[np.float32] = field(init=False, repr=False, compare=False)
    steps: npt.NDArray[np.float32] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.low < self.high or self.bins < 1:
            raise ValueError(f"a grid needs low < high and bins ≥ 1: got {self.low}, {self.high}, {self.bins}")
        edges = np.linspace(self.low, self.high, self.bins + 1).astype(np.float32)
        in_bins = np.arange(self.bins + 1, dtype=np.float32)
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "steps", in_bins if self.learnt_in == "bins" else edges)

    @property
    def zero(self) -> float:
        """The label that is learnt as 0."""
        return self.low if self.learnt_in == "bins" else 0.0

    @property
    def unit(self) -> float:
        """The difference of labels that is learnt as 1."""
        return self.width if self.learnt_in == "bins" else 1.0

    @property
    def width(self) -> float:
        """Width of a bin, in label units."""
        return (self.high - self.low) / self.bins

    @property
    def centres(self) -> Floats:
        """Middle of every bin, `[bins]`."""
        return np.asarray(self.low + (np.arange(self.bins) + 0.5) * self.width, dtype=np.float64)

    @property
    def mark(self) -> str:
        """What a fingerprint adds for the scale on which labels are learnt: nothing where it is their own."""
        return "" if (self.zero, self.unit) == (0.0, 1.0) else "-bins"

    def learnt(self, labels: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Labels as they are learnt, shaped like `labels`: t = (y − zero) / unit.

        A label that differs from an edge by no more than the rounding of its own type lies on the edge: 0.3 with bins
        of 0.1, written as 4600000.3 or read in float32.
        """
        if self.learnt_in == "labels":
            return np.asarray(labels, dtype=np.float32)
        given = np.asarray(labels)
        values = given.astype(np.float64)
        with np.errstate(invalid="ignore"):  # a label that is not finite is not on an edge
            rounding = 4 * np.spacing(np.maximum(np.abs(values), max(abs(self.low), abs(self.high))))
            if given.dtype in (np.float16, np.float32):
                rounding += np.spacing(np.abs(given)).astype(np.float64) / 2
            place = (values - self.low) / self.width
            edge = np.rint(place)
            on_edge = np.abs(place - edge) * self.width <= rounding
        return np.where(on_edge, edge, place).astype(np.float32)

    def labels(self, learnt: npt.ArrayLike) -> Floats:
        """Labels, or predictions, in their own units: zero + unit · t, in float64."""
        return np.asarray(self.zero + self.unit * np.asarray(learnt, dtype=np.float64), dtype=np.float64)

    def of_learnt(self) -> "LabelGrid":
        """The same bins on the scale on which labels are learnt."""
        if self.learnt_in == "labels":
            return self
        return LabelGrid(0.0, float(self.bins), self.bins, learnt_in="labels")

    def bin(self, labels: npt.ArrayLike) -> Ints:
        """Bin of every label, `[N]`, or dense; labels above the grid fall into the last bin.

        Raises ValueError for a label below the grid or one that is not a number.
        """
        places = self.learnt(labels)
        wrong = ~(places >= self.steps[0])  # also true for NaN
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(f"labels must be numbers ≥ {self.low:g}: got {np.asarray(labels).flat[row]} in row {row}")
        return np.minimum(np.searchsorted(self.steps, places, side="right") - 1, self.bins - 1).astype(np.int64)

    def counts(self, labels: npt.ArrayLike) -> Ints:
        """Number of labels in every bin, `[bins]`."""
        return np.bincount(self.bin(labels).ravel(), minlength=self.bins)


def heaps(labels: npt.ArrayLike, most: int = 8192) -> tuple[Floats, Ints]:
    """Distinct labels `[V]`, ascending, and how often each occurs, `[V]`.

    More than `most` distinct ones (pixels) are put together in `most` equal cells, each at the mean of its labels.
    """
    values, counts = np.unique(np.asarray(labels, dtype=np.float64), return_counts=True)
    if len(values) <= most:
        return values, counts
    cell = np.minimum((values - values[0]) / (values[-1] - values[0]) * most, most - 1).astype(np.int64)
    held = np.bincount(cell, weights=counts, minlength=most)
    sums = np.bincount(cell, weights=counts * values, minlength=most)
    return sums[held > 0] / held[held > 0], held[held > 0].astype(np.int64)


def _gaussian(width: int, sigma: float) -> Floats:
    # The published window filters a unit impulse *inside* `width` points with reflecting borders, so it is flatter
    # than a truncated Gaussian: 5/2 gives .858 .946 1, not .607 .883 1.
    impulse = np.zeros(width)
    impulse[width // 2] = 1.0
    window: Floats = scipy.ndimage.gaussian_filter1d(impulse, sigma=sigma)
    return window


def _triang(width: int, sigma: float) -> Floats:
    offsets = np.arange(width) - width // 2
    window: Floats = 2.0 * (width // 2 + 1 - np.abs(offsets)) / (width + 1)
    return window


def _laplace(width: int, sigma: float) -> Floats:
    offsets = np.arange(width) - width // 2
    window: Floats = np.exp(-np.abs(offsets) / sigma) / (2.0 * sigma)
    return window


KERNELS: Final[dict[str, Callable[[int, float], Floats]]] = {
    "gaussian": _gaussian,
    "triang": _triang,
    "laplace": _laplace,
}


def kernel_window(kernel: str, width: int, sigma: float, normalize: Literal["max", "sum"] = "max") -> Floats:
    """Symmetric smoothing window `[width]` of LDS (`normalize="max"`) or FDS (`normalize="sum"`).

    `triang` ignores sigma. Raises ValueError for an even or non-positive width, a sigma that is not positive, or an
    unknown kernel. Source: Yang et al., ICML 2021, arXiv:2102.09554, and the windows of its published code.
    """
    if width < 1 or width % 2 == 0:
        raise ValueError(f"width must be odd and positive: got width={width}; try {max(1, width - 1)} or {width + 1}")
    if sigma <= 0:
        raise ValueError(f"sigma must be positive: got sigma={sigma}")
    if kernel not in KERNELS:
        raise ValueError(f"no kernel {kernel!r}; known: {', '.join(KERNELS)}")
    window = KERNELS[kernel](width, sigma)
    scale: float = window.max() if normalize == "max" else window.sum()
    return np.asarray(window / scale)


@dataclass(frozen=True)
class Shots:
    """Thresholds on the training count n of a bin: many n > `many`, few n < `few`, else medium; zero n = 0."""

    many: int = 100
    few: int = 20

    def of_counts(self, counts: Ints) -> Ints:
        """Region of every bin, `[bins]`, as positions in REGIONS."""
        return np.select([counts == 0, counts > self.many, counts < self.few], [3, 0, 2], default=1).astype(np.int64)

    def __str__(self) -> str:
        return f"many > {self.many}, few < {self.few} training rows per bin"


@dataclass(frozen=True)
class ShotLists:
    """A data set's published lists of bins; bins in no list are few, as in the published STS-B code.

    A bin without training rows is zero-shot whatever the lists say.
    """

    many: Sequence[int]
    medium: Sequence[int]

    def of_counts(self, counts: Ints) -> Ints:
        """Region of every bin, `[bins]`, as positions in REGIONS."""
        regions = np.full(len(counts), 2, dtype=np.int64)
        regions[list(self.many)] = 0
        regions[list(self.medium)] = 1
        regions[counts == 0] = 3
        return regions

    def __str__(self) -> str:
        return "the data set's published lists of bins"


@dataclass(frozen=True)
class Shares:
    """Thresholds on a bin's share of all training labels: for pixels, whose number depends on the size of the maps."""

    many: float
    few: float

    def of_counts(self, counts: Ints) -> Ints:
        """Region of every bin, `[bins]`, as positions in REGIONS."""
        share = counts / max(int(counts.sum()), 1)
        return np.select([counts == 0, share > self.many, share < self.few], [3, 0, 2], default=1).astype(np.int64)

    def __str__(self) -> str:
        return f"many > {100 * self.many:g} %, few < {100 * self.few:g} % of the training pixels per bin"


ShotRule: TypeAlias = Shots | ShotLists | Shares


def regions(train_labels: npt.ArrayLike, labels: npt.ArrayLike, grid: LabelGrid, rule: ShotRule) -> Ints:
    """Shot region of every label, `[N]`, as positions in REGIONS, from the counts of the training labels."""
    return rule.of_counts(grid.counts(train_labels))[grid.bin(labels)]
