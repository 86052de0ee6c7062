"""Rows without which no table is complete: what is reached without the methods that a study compares.

A control needs no training budget. The simplest predict a constant; on tables of numbers ridge regression and gradient
boosting see what the network sees; and the base itself is recalibrated with the numbers of a line, or with a monotone
curve. Recalibration is fitted to validation labels, which recipes use for selection only, and validation rows are drawn
as test rows are. So there is a fair variant too: fitted out of fold on training rows, weighted to the distribution that
held-out labels are drawn to have.
"""

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from orchestrator.storage.store import Store
from workloads.cache import default_folder, once
from workloads.labels import Floats, LabelGrid
from workloads.recalibration import Curve, affine, folds_of, held_out_weights, isotonic
from workloads.workload import Data, DataError, Split, Table, Workload

FOLDS: Final = 3
VERSION: Final = 2
"""Of what is fitted here; another one does not read what this one has kept."""
PREFIX: Final = "control: "
Model = Callable[[Floats, Floats, Floats], Callable[[Floats], Floats]]
"""Fits inputs `[N, F]` and labels `[N]` with weights `[N]`; returns what predicts."""


@dataclass(frozen=True)
class Control:
    """Test predictions `[N]` by seed number, or one for all seeds under None, and what they were fitted to."""

    name: str
    predictions: Mapping[int | None, Floats]
    uses: str

    @property
    def row(self) -> str:
        """Its name in tables."""
        return f"{PREFIX}{self.name}"

    def of_seed(self, number: int) -> Floats | None:
        """Its predictions under a seed number."""
        return self.predictions.get(number, self.predictions.get(None))


def sqrt_inverse_weights(y: Floats, grid: LabelGrid) -> Floats:
    """Weights `[N]` of mean 1 by 1 / √n_b, those of the method `sqinv`."""
    bins = grid.bin(y)
    weights = np.sqrt(1.0 / np.bincount(bins, minlength=grid.bins)[bins])
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def _ridge(x: Floats, y: Floats, weights: Floats) -> Callable[[Floats], Floats]:
    from sklearn.linear_model import RidgeCV

    fitted = RidgeCV(alphas=np.logspace(-3, 3, 13)).fit(x, y, sample_weight=weights)
    return lambda inputs: np.asarray(fitted.predict(inputs), dtype=np.float64)


def _boosting(x: Floats, y: Floats, weights: Floats) -> Callable[[Floats], Floats]:
    from sklearn.ensemble import HistGradientBoostingRegressor

    fitted = HistGradientBoostingRegressor(random_state=0).fit(x, y, sample_weight=weights)
    return lambda inputs: np.asarray(fitted.predict(inputs), dtype=np.float64)


MODELS: Final[dict[str, Model]] = {"ridge": _ridge, "boosting": _boosting}
"""scikit-learn's ridge regression, its strength by leave-one-out on training rows, and its gradient boosting."""


def _inputs(split: Split) -> Floats | None:
    """Inputs `[N, F]` of a table of numbers; None for anything else."""
    if not isinstance(split, Table):
        return None
    x = split.inputs(torch.arange(len(split.y)), torch.device("cpu"))
    return x.numpy().astype(np.float64) if x.ndim == 2 and x.dtype.is_floating_point else None


def _labels(split: Split) -> Floats:
    return split.y.numpy().astype(np.float64)


def has_controls(workload: Workload) -> bool:
    """Whether a workload has controls: its labels are numbers, one for each row."""
    return workload.task == "regression" and not workload.dense


def controls(
    workload: Workload, data: Data, base: str, validated: Mapping[int, tuple[Floats, Floats]], store: Store
) -> list[Control]:
    """The controls of a regression workload; none for classes and maps.

    `validated` has the base's predictions of validation and test rows by seed number, where the ledger kept them. What
    depends on the data alone is computed once and kept in the storage.
    """
    if not has_controls(workload):
        return []
    return [*_constant(data), *_recalibrated(data, base, validated), *_kept(workload, data, store)]


def fit_ahead(workload: Workload, data: Data, store: Store) -> None:
    """Fit and keep what depends on the data alone, so that a report need not: seconds of gradient boosting."""
    if has_controls(workload):
        _kept(workload, data, store)


def _kept(workload: Workload, data: Data, store: Store) -> list[Control]:
    """The controls of a table, from the storage, else from this node's folder of prepared data, else fitted now."""
    if _inputs(data.train) is None:
        return []
    name = f"controls/{workload.name}-{data.fingerprint}-{VERSION}"
    key, on_node = f"{name}.parquet", f"{name}-scikit-learn-{version('scikit-learn')}.parquet"
    if (found := _read(store.get(key))) is not None:
        return found

    def read(path: Path) -> bytes | None:
        written = path.read_bytes() if path.is_file() else None
        return None if _read(written) is None else written

    def write(stream: BinaryIO) -> None:
        stream.write(fitted())

    fitted = cache(partial(_fitted, workload, data))
    try:
        written = once(default_folder() / on_node, read, write)
    except DataError:  # a node that keeps nothing is no fault: they are fitted again for the next storage
        written = fitted()
    store.put(key, written)
    return _read(written) or []


def _fitted(workload: Workload, data: Data) -> bytes:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # threads of small fits wait for one another when other processes are busy
        return _written(_tabular(workload, data))


def _read(written: bytes | None) -> list[Control] | None:
    """What was written; None where nothing was, or where it cannot be read."""
    with contextlib.suppress(pa.ArrowException, OSError, KeyError, ValueError):
        rows = pq.read_table(io.BytesIO(written or b""), page_checksum_verification=True).to_pylist()
        return [Control(row["name"], {None: np.array(row["pred"])}, row["uses"]) for row in rows]
    return None


def _written(found: list[Control]) -> bytes:
    rows = [{"name": c.name, "uses": c.uses, "pred": c.predictions[None].tolist()} for c in found]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, write_page_checksum=True)
    return sink.getvalue()


def _constant(data: Data) -> list[Control]:
    y, rows = _labels(data.train), len(data.test.y)
    values = {"training median": float(np.median(y)), "training mean": float(y.mean())}
    return [Control(name, {None: np.full(rows, value)}, "training labels") for name, value in values.items()]


def _recalibrated(data: Data, base: str, validated: Mapping[int, tuple[Floats, Floats]]) -> list[Control]:
    lines: dict[str, Callable[[Floats, Floats], Curve]] = {"affine": affine, "isotonic": isotonic}
    y, found = _labels(data.val), []
    for word, fit in lines.items() if validated else ():
        made: dict[int | None, Floats] = {}
        for seed, (on_val, on_test) in validated.items():
            made[seed] = fit(on_val, y)(on_test)
        found.append(Control(f"{base}, {word} on validation", made, "validation labels"))
    return found


def _tabular(workload: Workload, data: Data) -> list[Control]:
    """Ridge and boosting: plain, re-weighted, recalibrated on validation, and recalibrated without its labels."""
    train, val, test = (_inputs(split) for split in (data.train, data.val, data.test))
    if train is None or val is None or test is None:
        return []
    y, held_out, found = _labels(data.train), _labels(data.val), []
    balanced = held_out_weights(y, held_out, workload.grid)
    for name, model in MODELS.items():
        plain = model(train, y, np.ones(len(y)))
        weighted = model(train, y, sqrt_inverse_weights(y, workload.grid))
        line = affine(plain(val), held_out)
        fair = _out_of_fold(model, train, y, balanced)
        found += [
            Control(name, {None: plain(test)}, "training rows"),
            Control(f"{name} + sqinv", {None: weighted(test)}, "training rows"),
            Control(f"{name}, affine on validation", {None: line(plain(test))}, "validation labels"),
            Control(f"{name}, affine out of fold", {None: fair(plain(test))}, "training rows"),
        ]
    return found


def _out_of_fold(model: Model, x: Floats, y: Floats, weights: Floats) -> Curve:
    """A line fitted to predictions of training rows by models that have not seen them."""
    fold = folds_of(y, FOLDS)
    pred = np.empty(len(y))
    for k in range(FOLDS):
        rest = fold != k
        pred[~rest] = model(x[rest], y[rest], np.ones(int(rest.sum())))(x[~rest])
    return affine(pred, y, weights)
