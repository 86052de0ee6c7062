"""The density of labels."""

from typing import Final

import numpy as np
import numpy.typing as npt

from workloads.labels import Floats, Ints, heaps

ROWS: Final = 256
"""Points at which the density is computed at a time: 16 MB where 8,192 labels are distinct."""


def spread(labels: npt.ArrayLike) -> tuple[Floats, Ints, float]:
    """Distinct labels, how often each occurs, and the standard deviation of all."""
    values, counts = heaps(labels)
    centred = values - np.average(values, weights=counts)
    return values, counts, float(np.sqrt(counts @ centred**2 / max(counts.sum() - 1, 1)))


def gaussian_kde(values: Floats, counts: Ints, width: float, points: Floats) -> Floats:
    """A Gaussian KDE at points `[P]`, up to a factor: Σ_v counts_v · exp(−(point − v)² / 2 width²)."""
    parts = np.array_split(points, max(len(points) // ROWS, 1))
    return np.concatenate([np.exp(-0.5 * ((part[:, None] - values) / width) ** 2) @ counts for part in parts])
