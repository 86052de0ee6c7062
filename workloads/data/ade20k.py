"""ADE20K scene parsing: a photograph to the class of every pixel, 150 classes, in the official layout.

    ade20k/ADEChallengeData2016/images/{training,validation}/*.jpg
    ade20k/ADEChallengeData2016/annotations/{training,validation}/*.png     0 = none of the classes, else 1 … 150

The label of class c is c − 1; pixels of no class are masked. The official validation set is the test set; the
twentieth part of the training images, drawn by their names, is held out for validation. Photographs are decoded once to
256 px and annotations to 128 px, squeezed to squares (published: whole images). Validation and test are scored on a
million pixels that are drawn in proportion to the classes, always the same ones.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from workloads.cache import Bytes, CachedSplit, Source, Transform, decoded
from workloads.data.images import opened, resized
from workloads.data.longtail import class_grid
from workloads.data.pixels import Reader, choose, count_pixels, proportional, spaced
from workloads.encoders.dense import mirror_and_light, resnet50_maps
from workloads.labels import Shares
from workloads.seeds import seed_of
from workloads.workload import Data, DataError, Maps, Origin, Units, Workload

NAME: Final = "ade20k"
FOLDER: Final = "ADEChallengeData2016"
SIZE: Final = 256
CLASSES: Final = 150
GRID: Final = class_grid(CLASSES)
HELD: Final = 20
SCORED: Final = 1 << 20
"""Pixels that validation and test are scored on."""
SAMPLE: Final = 1 << 18
SAMPLE_IMAGES: Final = 600
"""What methods see of training at once: pixels of evenly spaced images."""
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""

ORIGIN: Final = Origin(
    source="ADE20K scene parsing (Zhou et al., CVPR 2017; IJCV 2019, arXiv:1608.05442), own validation images",
    licence="images: non-commercial research and education; annotations: BSD-3-Clause",
    page="http://sceneparsing.csail.mit.edu",
    steps=f"get ADEChallengeData2016.zip from http://sceneparsing.csail.mit.edu and unpack it into <data root>/{NAME}",
    folder=NAME,
)


def _annotation(content: bytes, source: Source, size: int) -> Bytes:
    """Classes `[1, size, size]`, 0 for none."""
    with opened(content) as image:
        if image.mode not in ("L", "P"):
            raise ValueError(f"an annotation has one channel of 8 bits: got mode {image.mode}")
        classes = np.asarray(image.resize((size, size), Image.Resampling.NEAREST))
    if classes.max() > CLASSES:
        raise ValueError(f"classes are 0 … {CLASSES}: got {classes.max()}")
    if not classes.any():
        raise ValueError("no pixel has a class")
    return classes[None]


def _labels(split: CachedSplit, index: Tensor, device: torch.device) -> Tensor:
    """Labels `[B, h, w]` of cached classes, NaN for none."""
    classes = split.inputs(index, device)[:, 0].float()
    return (classes - 1.0).masked_fill(classes == 0, math.nan)


def _names(folder: Path, part: str, problems: list[str]) -> list[str]:
    """Names of the photographs of a part that have their annotation; adds to the problems."""
    found: dict[str, set[str]] = {}
    for kind, end in (("images", ".jpg"), ("annotations", ".png")):
        place = folder / kind / part
        found[kind] = {path.stem for path in place.glob(f"*{end}")}
        if not found[kind]:
            problems.append(f"{place} has no {end} files; {ORIGIN.steps}")
    images, annotations = found["images"], found["annotations"]
    if images and annotations:
        problems += [
            f"{folder / 'images' / part / name}.jpg has no annotation {folder / 'annotations' / part / name}.png"
            for name in sorted(images - annotations)
        ]
        problems += [
            f"{folder / 'annotations' / part / name}.png has no photograph {folder / 'images' / part / name}.jpg"
            for name in sorted(annotations - images)
        ]
    return sorted(images & annotations)


def load(size: int, root: Path | None) -> Data:
    """Decode photographs and annotations, once; raises DataError with all that is wrong."""
    if root is None:
        raise DataError(f"{NAME} is looked for below a data root, and none is set; {ORIGIN.steps}")
    folder = root / NAME / FOLDER
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; {ORIGIN.steps}")
    problems: list[str] = []
    listed, test = (_names(folder, part, problems) for part in ("training", "validation"))
    if problems:
        raise DataError(*problems)
    if len(listed) < 2:
        raise DataError(f"{folder / 'images' / 'training'}: two images at least must be there: got {len(listed)}")
    by_seed = sorted(listed, key=lambda name: seed_of(NAME, name))
    held = frozenset(by_seed[: max(1, len(listed) // HELD)])
    train, val = [name for name in listed if name not in held], sorted(held)
    paths = [("training", name) for name in (*train, *val)] + [("validation", name) for name in test]

    def sources(kind: str, end: str) -> list[Source]:
        names = [f"{kind}/{part}/{name}{end}" for part, name in paths]
        return [Source(folder / name, name, NAME) for name in names]

    side = size // 2
    annotation = Transform(f"ade20k-classes-{side}-{PREPARATION}", (1, side, side), partial(_annotation, size=side))
    rows = []
    for files, transform in ((sources("images", ".jpg"), resized(size)), (sources("annotations", ".png"), annotation)):
        try:
            rows.append(decoded(files, transform))
        except DataError as err:
            problems += err.problems
    if problems:
        raise DataError(*problems)
    images, classes = rows
    digest = hashlib.sha256("\n".join(name for _, name in paths).encode() + (images.digest + classes.digest).encode())
    fingerprint = f"{digest.hexdigest()[:16]}-{size}-{PREPARATION}"

    def part(start: int, names: Sequence[str], training: bool) -> Maps:
        at = torch.arange(len(names))
        photographs, labels = CachedSplit(images, at + start, at), CachedSplit(classes, at + start, at)
        maps: Reader = partial(_labels, labels)
        some = spaced(len(at), SAMPLE_IMAGES) if training else at
        present = count_pixels(maps, some, GRID)
        wanted = proportional(present, SAMPLE if training else SCORED)
        scored = choose(maps, some, GRID, present, wanted, f"{NAME}/{start}")
        counts = count_pixels(maps, at, GRID, fingerprint) if training else None
        return Maps(len(at), (side, side), photographs.inputs, maps, scored, counts)

    first, second = len(train), len(train) + len(val)
    return Data(part(0, train, True), part(first, val, False), part(second, test, False), Units(), fingerprint)


def fixture(root: Path) -> None:
    """Write 24 images to train and six to test in the official layout: bands of seven classes, with holes."""
    rng = np.random.default_rng(0)
    folder = root / NAME / FOLDER
    for part, short, count in (("training", "train", 24), ("validation", "val", 6)):
        for number in range(1, count + 1):
            name = f"ADE_{short}_{number:08d}"
            classes = np.full((24, 24), 1, dtype=np.uint8)
            classes[18:22] = 2
            classes[22:] = 3
            classes[23:, 12:] = number % 3 + 4
            classes[0, : number % 5] = 0
            if number % 6 == 0:
                classes[12:13, :2] = 7
            pixels = (30 * classes[:, :, None] + rng.integers(0, 30, (24, 24, 3))).astype(np.uint8)
            for kind, end, values in (("images", ".jpg", pixels), ("annotations", ".png", classes)):
                place = folder / kind / part
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(values).save(place / f"{name}{end}")


def _encoder(data: Data) -> tuple[nn.Module, int]:
    return resnet50_maps()


WORKLOADS: Final = (
    Workload(
        name=NAME,
        title="scene parsing, 150 classes",
        unit="class",
        origin=ORIGIN,
        grid=GRID,
        shots=Shares(many=0.01, few=0.001),
        load=partial(load, SIZE),
        encoder=_encoder,
        needs=("transformers",),
        task="classification",
        metrics=("accuracy", "miou", "error"),
        settings={  # ours
            "train.epochs": 40,
            "train.batch_size": 16,
            "train.lr": 3e-4,
            "train.weight_decay": 1e-4,
            "train.optimizer": "adamw",
            "train.schedule": "cosine",
            "train.monitor": "val/miou/all",
            "inv.clip_low": 0,
            "inv.clip_high": 10**9,
            "lds.clip_low": 0,
            "lds.clip_high": 10**9,
            "fds.statistics": "streaming",
        },
        augment_maps=mirror_and_light,
        dense=True,
        counts={"test": 2000},
        fixture=fixture,
    ),
)
"""20,210 official training images, of which 1,010 are held out."""
