"""ImageNet-LT, Places-LT and iNaturalist 2018: photographs by the published lists of `path label` lines.

Paths are below the data set's folder. iNaturalist is read from the lists of the long-tail papers, or from the official
JSON where they are missing; its official validation set is the test set, and one row of every class with at least three
is held out of train. The middle square of every photograph is decoded once, to 224 px, into a cache: 28 GB for
ImageNet-LT, 16 GB for Places-LT, 70 GB for iNaturalist. In training they are moved by up to 28 px and mirrored
(published: crops of random size and shape).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import nn

from workloads.cache import CachedSplit, Source, decoded
from workloads.data.images import squared
from workloads.data.longtail import METRICS, SHOTS, class_grid
from workloads.encoders.images import resnet50
from workloads.encoders.small import crop_and_flip
from workloads.hparams import Value
from workloads.labels import Ints
from workloads.seeds import seed_of
from workloads.workload import Data, DataError, Origin, Units, Workload

SIZE: Final = 224
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""


@dataclass(frozen=True)
class Lists:
    """A data set's lists of train, validation (none: held out of train) and test; `json` instead of one that lacks."""

    name: str
    classes: int
    train: str
    val: str | None
    test: str
    json: Mapping[str, str]


@dataclass(frozen=True)
class Listed:
    """A line of a list: the photograph's name below the folder, its class, and where it is named."""

    name: str
    label: int
    where: str


def _lines(path: Path) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Path, label and place of every line of a list, and what is wrong with the other lines."""
    found: list[tuple[str, str, str]] = []
    problems: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, _, label = line.strip().rpartition(" ")
        if name:
            found.append((name.strip(), label, f"{path}:{number}"))
        elif line.strip():
            problems.append(f"{path}:{number}: expected a path and a label, found {line.strip()!r}")
    return found, problems


def _json(path: Path) -> tuple[list[tuple[str, str, str]], list[str]]:
    """The same of the official JSON: images have file names, annotations their classes."""
    try:
        tree: Any = json.loads(path.read_text(encoding="utf-8"))
        names = {image["id"]: str(image["file_name"]) for image in tree["images"]}
        rows = [
            (names[a["image_id"]], str(a["category_id"]), f"{path}: image {a['image_id']}") for a in tree["annotations"]
        ]
    except (ValueError, KeyError, TypeError) as err:
        return [], [f"{path} must have images with file names and annotations with classes: {err!r}"]
    return rows, []


def _read(folder: Path, name: str, lists: Lists, problems: list[str]) -> list[Listed]:
    """Rows of a list; adds to the problems, with file and line."""
    path = folder / name
    other = folder / lists.json.get(name, name)
    if path.is_file():
        found, wrong = _lines(path)
    elif other.is_file():
        found, wrong = _json(other)
    else:
        problems.append(f"{path} is missing")
        return []
    rows: list[Listed] = []
    for place, label, where in found:
        if not label.isdecimal() or int(label) >= lists.classes:
            wrong.append(f"{where}: class must be in 0 … {lists.classes - 1}, found {label!r}")
        elif PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            wrong.append(f"{where}: paths must stay in {folder}, found {place!r}")
        elif not (folder / place).is_file():
            wrong.append(f"{where}: {folder / place} is missing")
        else:
            rows.append(Listed(place, int(label), where))
    if not found and not wrong:
        wrong.append(f"{path}: it has no rows")
    problems += wrong
    return rows


def _one_of_each(labels: Ints, name: str) -> Ints:
    """A row of every class that has at least three, ascending; the draw of a class depends on name and class alone."""
    order = np.argsort(labels, kind="stable")
    classes, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    drawn = [
        order[start + np.random.default_rng(seed_of(name, int(c))).integers(count)]
        for c, start, count in zip(classes, starts, counts, strict=True)
        if count >= 3
    ]
    return np.sort(np.array(drawn, dtype=np.int64))


def load(lists: Lists, size: int, root: Path | None) -> Data:
    """Read the lists and decode the photographs, once; raises DataError with every line that is wrong."""
    if root is None:
        raise DataError(f"{lists.name} is looked for below a data root, and none is set; {ORIGINS[lists.name].steps}")
    folder = root / lists.name
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; {ORIGINS[lists.name].steps}")
    problems: list[str] = []
    names = [name for name in (lists.train, lists.val, lists.test) if name]
    rows = {name: _read(folder, name, lists, problems) for name in names}
    if problems:
        raise DataError(*problems)
    train = rows[lists.train]
    if lists.val:
        val = rows[lists.val]
    else:
        held = set(_one_of_each(np.array([row.label for row in train]), lists.name).tolist())
        val = [row for number, row in enumerate(train) if number in held]
        train = [row for number, row in enumerate(train) if number not in held]
    if not val:
        raise DataError(f"{folder / lists.train}: no class has three rows, of which one could be held out")
    digest = hashlib.sha256()
    for name in names:
        for row in rows[name]:
            digest.update(f"{row.name} {row.label}\n".encode())
    first = {row.name: row.where for name in reversed(names) for row in reversed(rows[name])}
    images = decoded([Source(folder / name, name, where) for name, where in first.items()], squared(size))
    digest.update(images.digest.encode())
    at = {name: position for position, name in enumerate(first)}

    def part(listed: Sequence[Listed]) -> CachedSplit:
        y = torch.tensor([float(row.label) for row in listed])
        return CachedSplit(images, torch.tensor([at[row.name] for row in listed]), y)

    fingerprint = f"{digest.hexdigest()[:16]}-{size}-{PREPARATION}"
    return Data(
        part(train), part(val), part(rows[lists.test]), Units(), fingerprint, describe=lambda row: train[row].name
    )


def fixture(lists: Lists, root: Path) -> None:
    """Write noise as JPEG and its lists: 110 photographs of class 0, 25 of 1, three of 2 … 5; two of each to test."""
    rng = np.random.default_rng(0)
    folder = root / lists.name
    for name in (lists.train, lists.val, lists.test):
        if name is None:
            continue
        lines: list[str] = []
        for label, count in enumerate((110, 25, 3, 3, 3, 3) if name == lists.train else [2] * 6):
            for number in range(count):
                path = Path(name).stem + f"/{label}/{number:04d}.jpg"
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / path, quality=50)
                lines.append(f"{path} {label}")
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


IMAGENET: Final = Lists("imagenet-lt", 1000, "ImageNet_LT_train.txt", "ImageNet_LT_val.txt", "ImageNet_LT_test.txt", {})
PLACES: Final = Lists("places-lt", 365, "Places_LT_train.txt", "Places_LT_val.txt", "Places_LT_test.txt", {})
INATURALIST: Final = Lists(
    "inaturalist18",
    8142,
    "iNaturalist18_train.txt",
    None,
    "iNaturalist18_val.txt",
    {"iNaturalist18_train.txt": "train2018.json", "iNaturalist18_val.txt": "val2018.json"},
)
LONG_TAIL: Final = "https://github.com/zhmiao/OpenLongTailRecognition-OLTR"
ORIGINS: Final = {
    "imagenet-lt": Origin(
        source="ImageNet-LT, Liu et al., CVPR 2019, arXiv:1904.05160",
        licence="ImageNet's terms of access: non-commercial research and education",
        page="https://image-net.org/download.php",
        steps=f"get ILSVRC 2012 from https://image-net.org and the lists from {LONG_TAIL}, into "
        "<data root>/imagenet-lt",
        folder="imagenet-lt",
    ),
    "places-lt": Origin(
        source="Places-LT, Liu et al., CVPR 2019, arXiv:1904.05160",
        licence="Places2's terms: non-commercial research and education",
        page="http://places2.csail.mit.edu/download.html",
        steps=f"get Places365 from http://places2.csail.mit.edu and the lists from {LONG_TAIL}, into "
        "<data root>/places-lt",
        folder="places-lt",
    ),
    "inaturalist18": Origin(
        source="iNaturalist 2018, Van Horn et al., CVPR 2018, arXiv:1707.06642, own validation rows",
        licence="the competition's terms: non-commercial research and education",
        page="https://github.com/visipedia/inat_comp/tree/master/2018",
        steps="get train_val2018, train2018.json and val2018.json from "
        "https://github.com/visipedia/inat_comp/tree/master/2018, into <data root>/inaturalist18",
        folder="inaturalist18",
    ),
}


def _encoder(data: Data) -> tuple[nn.Module, int]:
    return resnet50()


def _workload(lists: Lists, title: str, counts: Mapping[str, int], settings: Mapping[str, Value]) -> Workload:
    return Workload(
        name=lists.name,
        title=title,
        unit="class",
        origin=ORIGINS[lists.name],
        grid=class_grid(lists.classes),
        shots=SHOTS,
        load=partial(load, lists, SIZE),
        encoder=_encoder,
        needs=("transformers",),
        task="classification",
        metrics=METRICS,
        settings={
            "train.epochs": 200,
            "train.batch_size": 1024,
            "train.optimizer": "sgd",
            "train.lr": 0.1,
            "train.weight_decay": 5e-4,
            "train.schedule": "cosine",
            "train.monitor": "val/accuracy/all",
            "ot.label_cost": "class",
            "ranksim.weight": 0.03,  # ours: the published 100 is for ages
            **settings,
        },
        augment=partial(crop_and_flip, margin=28),
        counts=counts,
        fixture=partial(fixture, lists),
    )


WORKLOADS: Final = (
    _workload(IMAGENET, "photographs, 1,000 classes", {"train": 115_846, "val": 20_000, "test": 50_000}, {}),
    _workload(PLACES, "scenes, 365 classes", {"train": 62_500, "val": 7300, "test": 36_500}, {"train.epochs": 90}),
    # Validation rows come out of the 437,513 official ones: how many depends on the classes with three rows or more.
    _workload(INATURALIST, "species, 8,142 classes", {"test": 24_426}, {"train.weight_decay": 1e-4}),
)
"""Settings are those of ARB-Loss's published configurations, without mixup and, for Places, a pre-trained trunk."""
