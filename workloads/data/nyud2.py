"""NYUD2-DIR: a photograph of a room to the depth of every pixel, in the layout of the depth papers' files.

    nyud2-dir/nyu2_train.csv  nyu2_test.csv     image,depth per line, no header; the first folder of a path is left out
    nyud2-dir/nyu2_train/…                      JPEG and 8-bit PNG, 255 = 10 m
    nyud2-dir/nyu2_test/…                       PNG and 16-bit PNG in millimetres
    nyud2-dir/test_balanced_mask.npy            bool [test images, 228, 304]: the pixels that count; may be missing
    nyud2-dir/resnet50.safetensors              what nyud2-dir-imagenet starts from

The published code selects on test. Here the twentieth part of the training scenes (a scene is a folder) is held out for
validation, drawn by their names. Without the mask as many test pixels of every bin from 0.7 m as the rarest one has are
drawn, always the same ones; the published draw has no seed, so theirs are others. Depth 0 is no label.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from workloads.cache import Bytes, CachedSplit, Rows, Source, Transform, decoded
from workloads.data.images import framed, opened, rgb
from workloads.data.pixels import Reader, balanced, choose, count_pixels, marked, proportional, spaced
from workloads.encoders.dense import mirror_and_light, resnet50_maps
from workloads.encoders.images import resnet50, save_weights
from workloads.labels import LabelGrid, Shares
from workloads.seeds import seed_of
from workloads.workload import Data, DataError, Maps, Origin, Units, Workload

NAME: Final = "nyud2-dir"
WEIGHTS: Final = "resnet50.safetensors"
SHAPE: Final = (228, 304)
"""Of an image, and of a test map; training and validation maps have half of it."""
GRID: Final = LabelGrid(0, 10, 100, learnt_in="labels")
FIRST_BIN: Final = 7
"""Nothing is nearer than 0.7 m."""
HELD: Final = 20
SAMPLE_IMAGES: Final = 600
SAMPLE_PIXELS: Final = 1 << 18
"""What methods see of training at once: pixels of evenly spaced images (published, for FDS: 600 whole images)."""
VAL_PER_BIN: Final = 4096
MASK: Final = "test_balanced_mask.npy"
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""

ORIGIN: Final = Origin(
    source="NYU Depth v2 (Silberman et al., ECCV 2012), split of Yang et al., ICML 2021, arXiv:2102.09554",
    licence="research use, under the data set's terms; split: MIT",
    page="https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html",
    steps=(
        "get the images and lists as https://github.com/YyzHarry/imbalanced-regression (nyud2-dir) describes, and put "
        f"nyu2_train, nyu2_test, their two lists and {MASK} into {NAME} below the data root"
    ),
    folder=NAME,
)
IMAGENET: Final = replace(
    ORIGIN,
    steps=(
        f"{ORIGIN.steps}; and put model.safetensors of microsoft/resnet-50 on https://huggingface.co (Apache-2.0), or "
        f"other weights of a transformers ResNet-50, there as {WEIGHTS}"
    ),
    needs=(f"{NAME}/{WEIGHTS}",),
)


@dataclass(frozen=True)
class Pair:
    """A line of a list: the names of image and depth map below the folder, and where they are named."""

    image: str
    depth: str
    where: str

    @property
    def scene(self) -> str:
        """The folder that the image lies in."""
        return PurePosixPath(self.image).parent.name


def _photograph(content: bytes, source: Source, shape: tuple[int, int]) -> Bytes:
    with opened(content) as image:
        pixels = framed(rgb(image), shape, Image.Resampling.BILINEAR)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _depth(content: bytes, source: Source, shape: tuple[int, int], half: bool) -> Bytes:
    """Millimetres as two bytes, `[2, h, w]`: low, high."""
    with opened(content) as image:
        wide = image.mode.startswith("I")
        if not wide and image.mode != "L":
            raise ValueError(f"a depth map has one channel of 8 or 16 bits: got mode {image.mode}")
        values = framed(image, shape, Image.Resampling.NEAREST).astype(np.int64)
    millimetres = values if wide else (values * 10_000 + 127) // 255
    if half:
        millimetres = millimetres[::2, ::2]
    if not millimetres.any():
        raise ValueError("no pixel has a depth")
    if millimetres.max() > 65_535 or millimetres.min() < 0:
        raise ValueError(f"depths are 0 … 65535 mm: got {millimetres.min()} … {millimetres.max()}")
    return np.stack([millimetres & 255, millimetres >> 8]).astype(np.uint8)


def _metres(split: CachedSplit, index: Tensor, device: torch.device) -> Tensor:
    """Depths `[B, h, w]` of cached millimetres, NaN for 0."""
    low, high = split.inputs(index, device).float().unbind(1)
    depth = (low + 256.0 * high) / 1000.0
    return depth.masked_fill(depth == 0, math.nan)


def _read(folder: Path, name: str, problems: list[str]) -> list[Pair]:
    path = folder / name
    if not path.is_file():
        problems.append(f"{path} is missing; {ORIGIN.steps}")
        return []
    pairs: list[Pair] = []
    before = len(problems)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        cells = [PurePosixPath(cell.strip()) for cell in line.split(",")]
        if not line.strip():
            continue
        if len(cells) != 2 or any(len(cell.parts) < 2 or cell.is_absolute() or ".." in cell.parts for cell in cells):
            problems.append(f"{path}:{number}: expected the paths of an image and its depth map, found {line!r}")
            continue
        image, depth = (str(PurePosixPath(*cell.parts[1:])) for cell in cells)
        gone = [folder / name for name in (image, depth) if not (folder / name).is_file()]
        problems += [f"{path}:{number}: {missing} is missing" for missing in gone]
        pairs.append(Pair(image, depth, f"{path}:{number}"))
    if not pairs and len(problems) == before:
        problems.append(f"{path}: it has no lines")
    return pairs


def _held(pairs: Sequence[Pair]) -> frozenset[str]:
    """The scenes that are held out: the twentieth part, one at least, that come first by the seeds of their names."""
    scenes = sorted({pair.scene for pair in pairs}, key=lambda scene: seed_of(NAME, scene))
    return frozenset(scenes[: max(1, len(scenes) // HELD)])


def _mask(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    if not path.is_file():
        return None
    try:
        mask = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as err:
        raise DataError(f"{path} must be an array of booleans: {err}; without it the pixels are drawn") from err
    if mask.shape != shape or mask.dtype != bool:
        raise DataError(
            f"{path} must be booleans of shape {shape}, one map per line of nyu2_test.csv: "
            f"got {mask.dtype} {mask.shape}; without it the pixels are drawn"
        )
    return torch.from_numpy(mask)


def load_with_weights(shape: tuple[int, int], root: Path | None) -> Data:
    """The same with the weights beside it; raises DataError where they are missing, or of another network."""
    weights = None if root is None else root / NAME / WEIGHTS
    if weights is not None and weights.parent.is_dir() and not weights.is_file():
        raise DataError(f"{weights} is missing; {IMAGENET.steps}")
    data = load(shape, root)
    assert weights is not None, "load has raised without a root"
    digest = hashlib.sha256(data.fingerprint.encode() + weights.read_bytes()).hexdigest()[:16]
    data = replace(data, weights=weights, fingerprint=f"{digest}-{data.fingerprint.partition('-')[2]}")
    try:
        _encoder(data)
    except ValueError as err:
        raise DataError(str(err)) from None
    return data


def load(shape: tuple[int, int], root: Path | None) -> Data:
    """Read the lists and decode images and maps, once; raises DataError with all that is wrong."""
    if root is None:
        raise DataError(f"{NAME} is looked for below a data root, and none is set; {ORIGIN.steps}")
    folder = root / NAME
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; {ORIGIN.steps}")
    problems: list[str] = []
    listed, test = (_read(folder, name, problems) for name in ("nyu2_train.csv", "nyu2_test.csv"))
    if problems:
        raise DataError(*problems)
    held = _held(listed)
    train, val = [p for p in listed if p.scene not in held], [p for p in listed if p.scene in held]
    if not train:
        raise DataError(f"{folder / 'nyu2_train.csv'}: images must come from two scenes at least: got {len(held)}")
    mask = _mask(folder / MASK, (len(test), *shape))

    half = (len(range(0, shape[0], 2)), len(range(0, shape[1], 2)))
    size = f"{shape[0]}x{shape[1]}-{PREPARATION}"
    photograph = Transform(f"nyud2-rgb-{size}", (3, *shape), partial(_photograph, shape=shape))
    halved = Transform(f"nyud2-half-depth-{size}", (2, *half), partial(_depth, shape=shape, half=True))
    whole = Transform(f"nyud2-depth-{size}", (2, *shape), partial(_depth, shape=shape, half=False))
    problems = []
    images = _decoded([Source(folder / p.image, p.image, p.where) for p in (*train, *val, *test)], photograph, problems)
    depths = _decoded([Source(folder / p.depth, p.depth, p.where) for p in (*train, *val)], halved, problems)
    tests = _decoded([Source(folder / p.depth, p.depth, p.where) for p in test], whole, problems)
    if images is None or depths is None or tests is None:
        raise DataError(*problems)

    digest = hashlib.sha256("\n".join(f"{p.image} {p.depth}" for p in (*listed, *test)).encode())
    digest.update(b"" if mask is None else mask.numpy().tobytes())
    for rows in (images, depths, tests):
        digest.update(rows.digest.encode())
    fingerprint = f"{digest.hexdigest()[:16]}-{size}"

    n, held_out = len(train), len(train) + len(val)
    train_x, train_y = _readers(images, 0, depths, 0, n)
    val_x, val_y = _readers(images, n, depths, n, len(val))
    test_x, test_y = _readers(images, held_out, tests, 0, len(test))
    some = spaced(n, SAMPLE_IMAGES)
    present = count_pixels(train_y, some, GRID)
    scored = choose(train_y, some, GRID, present, proportional(present, SAMPLE_PIXELS), f"{NAME}/train")
    of_test = marked(test_y, mask) if mask is not None else _balanced(test_y, len(test), "test")
    return Data(
        Maps(n, half, train_x, train_y, scored, count_pixels(train_y, torch.arange(n), GRID, fingerprint)),
        Maps(len(val), half, val_x, val_y, _balanced(val_y, len(val), "val")),
        Maps(len(test), shape, test_x, test_y, of_test),
        Units(float(scored[1].mean()), float(scored[1].std())),
        fingerprint,
    )


def _readers(images: Rows, image: int, depths: Rows, depth: int, rows: int) -> tuple[Reader, Reader]:
    """Readers of photographs and of depths, for rows that begin at these places of the caches."""
    at = torch.arange(rows)
    return CachedSplit(images, at + image, at).inputs, partial(_metres, CachedSplit(depths, at + depth, at))


def _decoded(sources: Sequence[Source], transform: Transform, problems: list[str]) -> Rows | None:
    """The rows, or None with all that is wrong added to the problems."""
    try:
        return decoded(sources, transform)
    except DataError as err:
        problems += err.problems
        return None


def _balanced(maps: Reader, rows: int, split: str) -> tuple[Tensor, Tensor]:
    """Scored pixels of held-out maps: of every bin from 0.7 m alike, of the rarest one's number or up to a bound."""
    every = torch.arange(rows)
    counts = count_pixels(maps, every, GRID)
    far = np.where(np.arange(GRID.bins) < FIRST_BIN, 0, counts)
    most = VAL_PER_BIN if split == "val" else int(far[far > 0].min(initial=GRID.bins))
    return choose(maps, every, GRID, counts, balanced(far, most), f"{NAME}/{split}")


def fixture(root: Path) -> None:
    """Write rooms as ramps of depth: twelve scenes of two images each and six to test, 32 × 24 pixels, with holes."""
    rng = np.random.default_rng(0)
    folder = root / NAME
    for part, scenes, each in (("train", 12, 2), ("test", 1, 6)):
        lines = []
        for scene in range(scenes):
            for number in range(each):
                place = f"room_{scene:04d}_out/{number + 1}" if part == "train" else f"{number:05d}"
                image, depth = (f"nyu2_{part}/{place}{end}" for end in ENDS[part])
                (folder / image).parent.mkdir(parents=True, exist_ok=True)
                ramp = 0.7 + 9.2 * np.linspace(0, 1, 32) ** (1.5 if scene else 1) * np.ones((24, 1)) * rng.uniform(
                    0.6, 1
                )
                grey = (25 * ramp[:, :, None] + rng.integers(0, 12, (24, 32, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(grey).save(folder / image, quality=90)
                ramp[:2, rng.integers(0, 32)] = 0
                encoded = (ramp * 25.5).round().astype(np.uint8) if part == "train" else (ramp * 1000).astype(np.uint16)
                Image.fromarray(encoded).save(folder / depth)
                lines.append(f"data/{image},data/{depth}")
        (folder / f"nyu2_{part}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


ENDS: Final = {"train": (".jpg", ".png"), "test": ("_colors.png", "_depth.png")}


def fixture_with_weights(root: Path) -> None:
    """The same, and weights at random of a ResNet-50, which are as large as real ones."""
    fixture(root)
    network, _ = resnet50()
    save_weights(network.get_submodule("body"), root / NAME / WEIGHTS)


def _encoder(data: Data) -> tuple[nn.Module, int]:
    return resnet50_maps(data.weights)


def _workload(
    name: str, start: str, origin: Origin, load: Callable[[Path | None], Data], fixture: Callable[[Path], None]
) -> Workload:
    return Workload(
        name=name,
        title=f"depth of a pixel from a photograph of a room, {start}",
        unit="m",
        origin=origin,
        grid=GRID,
        # The published lists, whose counts are 0.81 % and more, 0.33 to 0.73 %, and 0.28 % and less of all pixels.
        shots=Shares(many=0.0077, few=0.003),
        load=load,
        encoder=_encoder,
        needs=("transformers",),
        metrics=("rmse", "mae", "absrel", "log10", "delta1", "delta2", "delta3"),
        settings={
            "train.epochs": 10,
            "train.batch_size": 32,
            "train.lr": 1e-4,
            "train.weight_decay": 1e-4,
            "train.schedule": "halfway",
            "train.monitor": "val/rmse/all",
            "inv.clip_low": 0,
            "inv.clip_high": 10**9,
            "lds.scheme": "inverse",
            "lds.clip_low": 0,
            "lds.clip_high": 10**9,
            "lds.border": "reflect",
            "lds.first_bin": FIRST_BIN,
            "fds.first_bin": FIRST_BIN,
            "fds.clip_low": 0.2,
            "fds.clip_high": 5.0,
            "fds.statistics": "streaming",  # a pass over all pixels does not fit; published: 600 images
            "bmse.noise": 1.0,  # metres, and not learned, as published
            "bmse.learn": False,
            "focal_l1.beta": 1.0,  # ours, as the next: the published ones are per year
            "focal_mse.beta": 1.0,
        },
        augment_maps=mirror_and_light,
        dense=True,
        counts={"test": 654},
        fixture=fixture,
    )


WORKLOADS: Final = (
    _workload(NAME, "network from scratch", ORIGIN, partial(load, SHAPE), fixture),
    _workload(
        f"{NAME}-imagenet",
        "network pre-trained on ImageNet",
        IMAGENET,
        partial(load_with_weights, SHAPE),
        fixture_with_weights,
    ),
)
"""Published: 50,688 training images, of which scenes are held out here; MSE, and the second network."""
