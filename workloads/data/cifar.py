"""CIFAR-10-LT and CIFAR-100-LT: the official pickles, cut to a long tail by a factor.

Differences from the published protocol: validation rows are held out of train, 100 of every class of CIFAR-10 and 10 of
CIFAR-100, since the published code selects on test. Only the first class of a cut pays for them; the counts of the
others are the published ones. The learning rate drops at 2/3 and 8/9 of the epochs (published: after 160 of 200 and,
beyond the end, 240), with Nesterov momentum, without five epochs of warm-up and without mixup.
"""

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from workloads.data.longtail import METRICS, SHOTS, class_grid, long_tail, long_tail_counts
from workloads.data.pickles import read_pickle
from workloads.encoders.small import crop_and_flip, resnet32
from workloads.labels import Ints
from workloads.workload import Data, DataError, Download, Origin, Table, Units, Workload

MEAN: Final = (0.4914, 0.4822, 0.4465)
SD: Final = (0.2023, 0.1994, 0.2010)
"""Of the channels; the constants of the published code."""
PIXELS: Final = 3 * 32 * 32
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Cifar:
    """One of the two data sets: where its files lie below the data root, and what is held out of each class."""

    name: str
    classes: int
    folder: str
    train: Sequence[str]
    test: str
    key: str
    largest: int
    held: int


CIFAR10: Final = Cifar(
    "cifar10",
    10,
    "cifar10/cifar-10-batches-py",
    tuple(f"data_batch_{n}" for n in range(1, 6)),
    "test_batch",
    "labels",
    largest=5000,
    held=100,
)
CIFAR100: Final = Cifar(
    "cifar100", 100, "cifar100/cifar-100-python", ("train",), "test", "fine_labels", largest=500, held=10
)


def _batch(path: Path, cifar: Cifar) -> tuple[Bytes, Ints]:
    """Images `[N, 3072]` and classes `[N]` of one file; raises DataError with file and row."""
    tree = read_pickle(path)
    for key in ("data", cifar.key):
        if key not in tree:
            raise DataError(f"{path}: {key} is missing; found {', '.join(sorted(tree)) or 'nothing'}")
    x: Any = tree["data"]
    if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.shape[1:] != (PIXELS,):
        raise DataError(f"{path}: data must be bytes [N, {PIXELS}]: got {getattr(x, 'shape', type(x).__name__)}")
    labels: Any = tree[cifar.key]
    if not isinstance(labels, list) or len(labels) != len(x):
        raise DataError(f"{path}: {cifar.key} must be a list of {len(x)} classes, one for each image")
    wrong = [row for row, c in enumerate(labels) if type(c) is not int or not 0 <= c < cifar.classes]
    if wrong:
        raise DataError(
            *(f"{path}: row {row}: class must be in 0 … {cifar.classes - 1}: got {labels[row]!r}" for row in wrong)
        )
    if not len(x):
        raise DataError(f"{path}: it has no rows")
    return x, np.asarray(labels, dtype=np.int64)


def _read(folder: Path, names: Sequence[str], cifar: Cifar) -> tuple[list[tuple[Bytes, Ints]], list[str]]:
    """Every file of a split that could be read, and what is wrong with the others."""
    batches: list[tuple[Bytes, Ints]] = []
    problems: list[str] = []
    for name in names:
        try:
            batches.append(_batch(folder / name, cifar))
        except DataError as err:
            problems += err.problems
    return batches, problems


def load(cifar: Cifar, factor: float, root: Path | None) -> Data:
    """Read, hold validation rows out and cut the rest: images `[N, 3, 32, 32]` as bytes."""
    if root is None:
        raise DataError(f"{cifar.folder} is looked for below a data root, and none is set; {_steps(cifar)}")
    folder = root / cifar.folder
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; {_steps(cifar)}")
    train, problems = _read(folder, cifar.train, cifar)
    test, more = _read(folder, [cifar.test], cifar)
    if problems or more:
        raise DataError(*problems, *more)
    x, y = (np.concatenate(parts) for parts in zip(*train, strict=True))
    available = np.bincount(y, minlength=cifar.classes)
    # The official files have `largest` rows of every class; with fewer, less is held out.
    held = min(cifar.held, max(1, int(available.min()) // 3))
    try:
        rows = long_tail(y, long_tail_counts(cifar.largest, cifar.classes, factor), (held,), cifar.name)
    except ValueError as err:
        raise DataError(f"{folder}: {err}") from err
    kept, val = (_table(x[index], y[index]) for index in rows)
    digest = hashlib.sha256()
    for part in (*train, *test):
        digest.update(part[0].tobytes())
        digest.update(part[1].tobytes())
    return Data(kept, val, _table(*test[0]), Units(), f"{digest.hexdigest()[:16]}-{PREPARATION}")


def _table(x: Bytes, y: Ints) -> Table:
    # Bytes live on the device whole (40 MB for the largest cut); the encoder makes numbers of a batch.
    return Table(torch.from_numpy(x.copy()).view(-1, 3, 32, 32), torch.from_numpy(y).float())


def fixture(cifar: Cifar, root: Path) -> None:
    """Write noise in the official layout: 130 images of class 0, 40 of class 1, three of every other; two to test."""
    rng = np.random.default_rng(0)
    folder = root / cifar.folder
    folder.mkdir(parents=True, exist_ok=True)
    labels = rng.permutation(np.repeat(np.arange(cifar.classes), [130, 40] + [3] * (cifar.classes - 2)))
    parts = np.array_split(labels, len(cifar.train))
    for name, classes in (*zip(cifar.train, parts, strict=True), (cifar.test, np.arange(2 * cifar.classes) // 2)):
        x = rng.integers(0, 256, (len(classes), PIXELS), dtype=np.uint8)
        tree = {b"data": x, cifar.key.encode(): classes.tolist()}
        (folder / name).write_bytes(pickle.dumps(tree, protocol=4))


def _steps(cifar: Cifar) -> str:
    archive = f"cifar-{cifar.classes}-python.tar.gz"
    return f"get {archive} from https://www.cs.toronto.edu/~kriz/cifar.html and unpack it in <data root>/{cifar.name}"


def _encoder(data: Data) -> tuple[nn.Module, int]:
    return resnet32(MEAN, SD)


def _workload(name: str, cifar: Cifar, factor: float, sha256: str) -> Workload:
    train = long_tail_counts(cifar.largest, cifar.classes, factor)
    archive = f"cifar-{cifar.classes}-python.tar.gz"
    return Workload(
        name=name,
        title=f"CIFAR-{cifar.classes}, imbalance factor {factor:g}, own validation rows",
        unit="class",
        origin=Origin(
            source=f"CIFAR-{cifar.classes}, Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
            licence="none stated; free to download, its authors ask for the citation",
            page="https://www.cs.toronto.edu/~kriz/cifar.html",
            steps=_steps(cifar),
            folder=cifar.name,
            files=(
                Download(
                    f"https://www.cs.toronto.edu/~kriz/{archive}", f"{cifar.name}/{archive}", sha256, cifar.folder
                ),
            ),
            needs=(cifar.folder,),
        ),
        grid=class_grid(cifar.classes),
        shots=SHOTS,
        load=partial(load, cifar, factor),
        encoder=_encoder,
        task="classification",
        metrics=METRICS,
        settings={
            "train.epochs": 200,
            "train.batch_size": 128,
            "train.optimizer": "sgd",
            "train.lr": 0.1,
            "train.weight_decay": 2e-4,
            "train.schedule": "steps",
            "train.monitor": "val/accuracy/all",
            "arb.counts": "batch",  # the published configuration for CIFAR
            "ot.label_cost": "class",
            "ranksim.weight": 0.03,  # ours: the published 100 is for ages
        },
        augment=crop_and_flip,
        counts={
            "train": int(np.minimum(train, cifar.largest - cifar.held).sum()),
            "val": cifar.held * cifar.classes,
            "test": 10_000,
        },
        counted="ours",
        fixture=partial(fixture, cifar),
    )


FACTORS: Final = {"": 100, "-200": 200, "-50": 50, "-20": 20, "-10": 10}
"""Name endings and their imbalance factors: those of the published tables."""

WORKLOADS: Final = tuple(
    _workload(f"{cifar.name}-lt{ending}", cifar, factor, sha256)
    for cifar, sha256 in (
        (CIFAR10, "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"),
        (CIFAR100, "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"),
    )
    for ending, factor in FACTORS.items()
)
