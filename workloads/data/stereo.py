"""Depth from one scene of a stereo camera: a small real data set with a label for every pixel, from a package.

The motorcycle of the Middlebury sets, left view with its measured disparity, in tiles of 24 × 24 pixels, which are
drawn into train, validation and test. All come from one scene, and neighbours look alike: it exercises methods on
maps in seconds, and says nothing of depth elsewhere.
"""

import hashlib
import importlib.util
import zipfile
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor, nn

from workloads.data.pixels import CPU, Reader, count_pixels, labelled
from workloads.encoders.dense import mirror, small_maps
from workloads.extras import way_out
from workloads.labels import LabelGrid, Shares
from workloads.seeds import seed_of
from workloads.workload import Data, DataError, Maps, Origin, Units, Workload

PACKAGE: Final = "scikit-image"
IMAGE: Final = "motorcycle_left.png"
DISPARITY: Final = "motorcycle_disp.npz"
SIDE: Final = 24
SHARES: Final = (0.6, 0.2)
"""Shares of the tiles in train and in validation; the rest is test."""
FOCAL_PX, BASELINE_M, OFFSET_PX = 994.978, 0.193001, 31.086
"""The camera as the data set gives it: depth = focal length · baseline / (disparity + offset)."""
GRID: Final = LabelGrid(2.1, 5.0, 29, learnt_in="labels")
"""The few pixels beyond 5 m fall into the last bin: by themselves they would be a bin that training may not have."""
FARTHEST: Final = 5.1
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""


def _folder() -> Path:
    package = importlib.util.find_spec("skimage")  # located, not imported: its imports take seconds
    if package is None or package.origin is None:
        raise DataError(f"{IMAGE} and {DISPARITY} are missing: {way_out('skimage')}")
    return Path(package.origin).parent / "data"


def read(folder: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """The left view `[3, H, W]` and depths `[H, W]` in metres, NaN where none was measured; raises DataError."""
    again = f"install the package {PACKAGE} again (pip install --force-reinstall {PACKAGE})"
    problems: list[str] = []
    image, disparity = np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.float32)
    try:
        with Image.open(folder / IMAGE) as opened:
            image = np.asarray(opened.convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError) as err:
        problems.append(f"{folder / IMAGE} must be an image: {err}; {again}")
    try:
        with np.load(folder / DISPARITY, allow_pickle=False) as file:
            disparity = file["arr_0"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as err:
        problems.append(f"{folder / DISPARITY} must hold an array arr_0: {err}; {again}")
    if not problems and disparity.shape != image.shape[:2]:
        problems.append(
            f"{folder / DISPARITY} must have a disparity for every pixel of {IMAGE}: "
            f"got {disparity.shape} and {image.shape[:2]}; {again}"
        )
    if problems:
        raise DataError(*problems)
    depth = (FOCAL_PX * BASELINE_M / (disparity.astype(np.float64) + OFFSET_PX)).astype(np.float32)
    wrong = np.isfinite(disparity) & ~((depth >= GRID.low) & (depth <= FARTHEST))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise DataError(
            f"{folder / DISPARITY}: depths must lie in {GRID.low:g} … {FARTHEST:g} m: "
            f"got {depth[row, column]:g} in row {row}, column {column}; {again}"
        )
    depth[~np.isfinite(disparity)] = np.nan
    return np.ascontiguousarray(image.transpose(2, 0, 1)), depth


def _tiles(plane: Tensor) -> Tensor:
    """`[C, H, W]` as tiles `[T, C, S, S]`, row by row; what is over at the right and at the bottom is left out."""
    cut = plane.unfold(1, SIDE, SIDE).unfold(2, SIDE, SIDE)
    return cut.permute(1, 2, 0, 3, 4).flatten(0, 1).contiguous()


def _held(values: Tensor) -> Reader:
    return lambda index, device: values[index].to(device)


def load(root: Path | None, folder: Path | None = None) -> Data:
    """Read and cut; inputs `[T, 5, 24, 24]` are the colours and the place in the image, all in −1 … 1."""
    folder = folder or _folder()
    image, depth = read(folder)
    height, width = depth.shape
    place = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    tiles = _tiles(torch.cat([torch.from_numpy(image) / 127.5 - 1.0, torch.stack(place)]))
    depths = _tiles(torch.from_numpy(depth)[None])[:, 0]
    some = (~depths.isnan()).flatten(1).any(1)
    tiles, depths = tiles[some], depths[some]
    order = np.random.default_rng(seed_of("stereo-depth", "tiles")).permutation(len(tiles))
    ends = np.cumsum([round(share * len(tiles)) for share in SHARES])

    def part(rows: npt.NDArray[np.int64]) -> Maps:
        picked = torch.from_numpy(np.sort(rows))
        maps, every = _held(depths[picked]), torch.arange(len(picked))
        at, y = (torch.cat(found) for found in zip(*labelled(maps, every), strict=True))
        counts = count_pixels(maps, every, GRID)
        return Maps(len(picked), (SIDE, SIDE), _held(tiles[picked]), maps, (at, y), counts)

    train, val, test = map(part, np.split(order, ends))
    digest = hashlib.sha256(image.tobytes() + depth.tobytes()).hexdigest()[:16]
    units = Units(float(train.y.mean()), float(train.y.std()))
    return Data(train, val, test, units, f"{digest}-{SIDE}-{PREPARATION}")


def _encoder(data: Data) -> tuple[nn.Module, int]:
    return small_maps(data.train.inputs(torch.zeros(1, dtype=torch.long), CPU).shape[1], 16)


WORKLOADS: Final = (
    Workload(
        name="stereo-depth",
        title="depth of a pixel, one scene in tiles",
        unit="m",
        origin=Origin(
            source="Motorcycle, Middlebury stereo (Scharstein et al., GCPR 2014), through the package scikit-image",
            licence="BSD-3-Clause (package); free to use, cite the paper (data)",
        ),
        grid=GRID,
        shots=Shares(many=0.03, few=0.01),
        load=load,
        encoder=_encoder,
        metrics=("mae", "rmse", "absrel", "delta1"),
        settings={
            "train.epochs": 12,
            "train.batch_size": 32,
            "train.lr": 5e-3,
            "train.schedule": "cosine",
            "bmse.noise": 0.5,  # metres; the published 10 is in years
            "focal_l1.beta": 2.0,  # per metre, likewise
            "focal_mse.beta": 2.0,
            "huber.beta": 0.1,
            "inv.clip_high": 10**9,  # thousands of pixels in a bin; the published bounds are for rows
            "lds.clip_high": 10**9,
        },
        augment_maps=mirror,
        dense=True,
    ),
)
