"""Columns of measurements as inputs of a network."""

from collections.abc import Mapping

import numpy as np

from workloads.labels import Floats, Ints


def standardise(columns: Mapping[str, Floats], train: Ints) -> Floats:
    """Columns `[N]` as `[N, F]`, scaled to mean 0 and sd 1 on the training rows.

    A gap (NaN) becomes 0, and where training has gaps a further column marks them. Columns that are constant on the
    training rows are left out.
    """
    made: list[Floats] = []
    for values in columns.values():
        known = values[train][~np.isnan(values[train])]
        if len(known) == 0 or known.std() == 0:
            continue
        gaps = np.isnan(values)
        made.append(np.where(gaps, 0.0, (values - known.mean()) / known.std()))
        if gaps[train].any():
            made.append(gaps.astype(np.float64))
    return np.stack(made, axis=1)
