"""What the labels of a data set say about its settings: bins, the window of LDS, shot thresholds and relevance."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy

from workloads.hparams import Choice, Float, Int
from workloads.labels import REGIONS, Floats, Ints, Shots, kernel_window
from workloads.methods.lds import LDS, density_weights
from workloads.relevance import Relevance, relevance
from workloads.workload import Data, Workload

HEAPED: Final = 0.9
"""Labels are read on a step where this share of them are multiples of it."""
DIGITS: Final = (5.0, 2.0, 1.0)
PLAIN: Final = ("gaussian", 5, 2.0)
"""The published window."""


def steps(largest: float, count: int = 19) -> Iterator[float]:
    """Round numbers at or below a number, descending: 1, 2 and 5 times powers of ten."""
    power = math.floor(math.log10(largest))
    rounds = (digit * 10.0 ** (power - n) for n in range(count // 3 + 2) for digit in DIGITS)
    yield from [step for step in rounds if step <= largest * (1 + 1e-9)][:count]


def read_on(labels: Floats) -> float:
    """The largest round number of which nine labels in ten are multiples; 0 where labels are continuous."""
    reach = float(np.ptp(labels))
    rounding = 4 * float(np.spacing(np.float32(np.abs(labels).max())))
    for step in steps(reach / 4) if reach > 0 else ():
        off = np.abs(labels - np.rint(labels / step) * step)
        if step > 100 * rounding and (off <= rounding).mean() >= HEAPED:
            return step
    return 0.0


def freedman_diaconis(labels: Floats) -> float:
    """Width of bins by 2 · IQR · N^(−1/3), for the sd in place of IQR / 1.349 where half of the labels are equal.

    Source: Freedman & Diaconis, Zeitschrift für Wahrscheinlichkeitstheorie 57, 1981.
    """
    q1, q3 = np.quantile(labels, (0.25, 0.75))
    return float(2 * (float(q3 - q1) or 1.349 * float(labels.std())) * len(labels) ** (-1 / 3))


def bin_width(labels: Floats) -> float:
    """The largest round number that the rule above allows, and that is a multiple of the step on which labels are read.

    Bins between two steps of a scale are empty: they make a comb, which re-weighting takes for rarity.
    """
    heap, rule = read_on(labels), freedman_diaconis(labels)
    if rule <= heap or rule <= 0:
        return heap or 1.0
    fits = (step for step in steps(rule) if not heap or math.isclose(step / heap, round(step / heap), rel_tol=1e-6))
    return next(fits, heap)


@dataclass(frozen=True)
class Window:
    """A window of LDS, and how well the density that it makes tells a label that it has not seen, in nats a row."""

    kernel: str
    width: int
    sigma: float
    score: float


def held_out_score(counts: Ints, window: Floats) -> float:
    """Mean log density of a label under the smoothed histogram of all others, in nats.

        s = 1/N Σ_b n_b log p_b,   p_b = (1 − 1/N) · ((window ∗ n)_b − window_0) / ((N − 1) Σ window) + 1 / (N M)

    A window `[W]` of one number is the histogram as it is. The last term is a uniform label among N, so that one far
    from all others costs no more than it should. Source: likelihood cross-validation, Duin, IEEE Transactions on
    Computers 1976.
    """
    rows = float(counts.sum())
    others = scipy.ndimage.convolve1d(counts.astype(np.float64), window, mode="constant") - window[len(window) // 2]
    density = (1 - 1 / rows) * others / ((rows - 1) * window.sum()) + 1 / (rows * len(counts))
    held = counts > 0
    return float(counts[held] @ np.log(density[held]) / rows)


def windows(counts: Ints) -> list[Window]:
    """Every kernel with every width and some sigmas of those that LDS declares, by its score, best first."""
    fields = LDS.Hparams.declared()
    kernels, widths, sigmas = (fields[name].range for name in ("kernel", "width", "sigma"))
    assert isinstance(kernels, Choice) and isinstance(widths, Int) and isinstance(sigmas, Float)
    made = []
    for kernel in map(str, kernels.options):
        tried = [2.0] if kernel == "triang" else np.geomspace(sigmas.low, sigmas.high, 7).round(2).tolist()
        for width in range(widths.low, widths.high + 1, widths.step):
            for sigma in tried:
                score = held_out_score(counts, kernel_window(kernel, width, sigma))
                made.append(Window(kernel, width, sigma, score))
    return sorted(made, key=lambda window: (-window.score, window.width))


@dataclass(frozen=True)
class Advice:
    """What labels say: `best` of all `tried` windows beside the histogram as it is and the published window.

    `empty` is the share of bins without rows between the first and the last that have some; `ess` that of rows which
    count under the advised weights, (Σ w)² / (N Σ w²), and `ratio` the largest weight over the smallest.
    """

    rows: int
    heap: float
    rule: float
    bin_width: float
    empty: float
    tried: tuple[Window, ...]
    unsmoothed: float
    published: float
    shots: Shots
    shots_fit: bool
    in_regions: tuple[int, int, int]
    relevance: Relevance
    beyond: tuple[float, float]
    ess: float
    ratio: float

    @property
    def best(self) -> Window:
        """The window that tells held-out labels best."""
        return self.tried[0]

    @property
    def smooths(self) -> bool:
        """Whether any window tells them better than the histogram as it is."""
        return self.best.score > self.unsmoothed

    @property
    def settings(self) -> dict[str, str | int | float]:
        """The advised settings by `part.hparam`."""
        made: dict[str, str | int | float] = {"lds.kernel": self.best.kernel, "lds.width": self.best.width}
        return made if self.best.kernel == "triang" else {**made, "lds.sigma": self.best.sigma}


def shots_of(counts: Ints, tested: Ints) -> Shots:
    """Thresholds between which a third of the test rows `tested` `[M]` lies, by the training rows `counts` of a bin.

    Of three regions with equal rows none has a wider interval than it must.
    """
    order = np.argsort(-counts, kind="stable")
    share = np.cumsum(tested[order]) / max(int(tested.sum()), 1)
    many, few = (int(counts[order[np.searchsorted(share, part)]]) for part in (1 / 3, 2 / 3))
    return Shots(max(many - 1, 1), max(few, 1)) if many > few else Shots(many, max(many, 1))


def advise(workload: Workload, data: Data) -> Advice:
    """What the training labels say; thresholds are those of the workload where no region is thin, else thirds."""
    y = data.train.y.numpy().astype(np.float64)
    counts = workload.bin_counts(data)
    tested = workload.grid.counts(data.test.y.numpy())
    tried = windows(counts)
    weights = density_weights(counts, "sqrt_inv", tried[0].kernel, tried[0].width, tried[0].sigma)
    held = np.flatnonzero(counts)
    of_rows = counts @ weights / counts.sum()
    given = Shots(100, 20)
    in_regions = _rows(given, counts, tested)
    fits = min(in_regions) >= 30
    shots = given if fits else shots_of(counts, tested)
    phi = relevance(y)
    return Advice(
        rows=len(y),
        heap=read_on(y),
        rule=freedman_diaconis(y),
        bin_width=bin_width(y),
        empty=float((counts[held[0] : held[-1] + 1] == 0).mean()),
        tried=tuple(tried),
        unsmoothed=held_out_score(counts, np.ones(1)),
        published=held_out_score(counts, kernel_window(*PLAIN)),
        shots=shots,
        shots_fit=fits,
        in_regions=_rows(shots, counts, tested),
        relevance=phi,
        beyond=(float((y < phi.low).mean()), float((y > phi.high).mean())),
        ess=float(of_rows**2 / (counts @ weights**2 / counts.sum())),
        ratio=float(weights[held].max() / weights[held].min()),
    )


def _rows(shots: Shots, counts: Ints, tested: Ints) -> tuple[int, int, int]:
    """Test rows in many, medium and few."""
    where = shots.of_counts(counts)
    many, medium, few = (int(tested[where == place].sum()) for place in range(len(REGIONS) - 1))
    return many, medium, few
