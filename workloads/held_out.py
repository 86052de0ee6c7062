"""What a test set can say: how its labels are distributed, what it leaves out, and where it has few rows."""

from typing import Final

import numpy as np

from workloads.labels import REGIONS, Floats
from workloads.workload import Data, Workload

FEW_ROWS: Final = 30
"""Test rows below which a region says little."""


def natural_weights(workload: Workload, data: Data) -> Floats | None:
    """The weight of every test row, `[N]`, that gives the test set the label distribution of all labelled rows.

    A held-out split is often drawn to be balanced over labels. With p_b the share of bin b among all rows of all
    splits and n_b its test rows, a row of bin b weighs p_b / n_b, scaled to a mean of 1; bins without test rows are
    left out. None where labels are maps or classes, and where the test set has that distribution already.
    """
    if workload.dense or workload.task != "regression":
        return None
    test = workload.grid.counts(data.test.y.numpy())
    every = test + sum(workload.grid.counts(split.y.numpy()) for split in (data.train, data.val))
    share = np.where(test > 0, every, 0) / np.maximum(test, 1)
    weights = share[workload.grid.bin(data.test.y.numpy())].astype(np.float64)
    weights /= weights.mean()
    return None if np.allclose(weights, 1.0, rtol=0.02) else weights


def rows_by_region(workload: Workload, data: Data) -> dict[str, int]:
    """Test rows, or scored pixels, in every shot region; `zero` only where it has some."""
    counts = np.bincount(workload.regions(data, data.test), minlength=len(REGIONS))
    return {region: int(n) for region, n in zip(REGIONS, counts, strict=True) if n or region != "zero"}


def told(workload: Workload, data: Data) -> list[str]:
    """What the test set is, and where it cannot say much, in sentences."""
    lines = []
    if workload.task == "regression" and not workload.dense:
        lines += [_drawn(workload, data), _range(workload, data)]
    counts, of = rows_by_region(workload, data), "pixels" if workload.dense else "rows"
    thin = [f"{region} {n}" for region, n in counts.items() if 0 < n < FEW_ROWS]
    if thin:
        lines.append(f"Fewer than {FEW_ROWS} test {of}: {', '.join(thin)}: read these columns with care.")
    trained = set(workload.shots.of_counts(workload.bin_counts(data))[workload.bin_counts(data) > 0].tolist())
    missing = [region for region, n in counts.items() if not n and REGIONS.index(region) in trained]
    if missing:
        lines.append(f"No test {of} in {' and '.join(missing)}, where training has some: nothing is said of them.")
    return lines


def _drawn(workload: Workload, data: Data) -> str:
    if natural_weights(workload, data) is None:
        return "The test set is distributed as the data: All is the error on the population as it is."
    return (
        "The test set is not distributed as the data: All weighs its rows alike, Natural weighs each bin as it occurs "
        "among all labelled rows."
    )


def _range(workload: Workload, data: Data) -> str:
    (low, high), (first, last) = ((float(s.y.min()), float(s.y.max())) for s in (data.test, data.train))
    width = workload.grid.width
    rest = ": the rest is not tested" if first < low - width or high + width < last else ""
    return f"Test labels lie in {low:g} … {high:g}, training labels in {first:g} … {last:g}{rest}."
