"""ModelNet10: shapes of furniture to their class, as points drawn from the surfaces of the official OFF meshes.

A mesh's points are drawn once, into a cache, from a seed that is the file's own. Validation rows, the same number of
every class, are held out of the official train folders. `modelnet10-lt` cuts train to a long tail; its size and factor
are ours.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from workloads.cache import Rows, Source, Transform, decoded
from workloads.data.longtail import METRICS, SHOTS, class_grid, long_tail, long_tail_counts
from workloads.encoders.points import PointNet, turn_and_jitter
from workloads.labels import Floats, Ints
from workloads.seeds import seed_of
from workloads.workload import Data, DataError, Download, Origin, Table, Units, Workload

CLASSES: Final = (
    "bathtub",
    "bed",
    "chair",
    "desk",
    "dresser",
    "monitor",
    "night_stand",
    "sofa",
    "table",
    "toilet",
)
TRAIN: Final = (106, 515, 889, 200, 200, 465, 200, 680, 392, 344)
"""Official training meshes of every class."""
FOLDER: Final = "modelnet10/ModelNet10"
POINTS: Final = 512
HELD: Final = 10
"""Rows of every class that become validation rows."""
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""


def read_off(text: str) -> tuple[Floats, Ints]:
    """Vertices `[V, 3]` and triangles `[F, 3]` of an OFF mesh; raises ValueError.

    Some official files lack the line break after `OFF`.
    """
    if not text.startswith("OFF"):
        raise ValueError(f"an OFF file starts with OFF, found {text[:10]!r}")
    numbers = np.array(text[3:].split(), dtype=np.float64)
    if len(numbers) < 3:
        raise ValueError("the numbers of vertices and faces are missing")
    vertices, faces = int(numbers[0]), int(numbers[1])
    end = 3 + 3 * vertices
    if vertices < 1 or faces < 1 or len(numbers) != end + 4 * faces:
        raise ValueError(
            f"{vertices} vertices and {faces} triangles make {end + 4 * faces} numbers: found {len(numbers)}"
        )
    corners = numbers[3:end].reshape(-1, 3)
    rows = numbers[end:].reshape(-1, 4)
    if (rows[:, 0] != 3).any():
        raise ValueError(f"faces must be triangles: found one of {rows[rows[:, 0] != 3][0, 0]:g} corners")
    triangles = rows[:, 1:].astype(np.int64)
    if not np.isfinite(corners).all() or triangles.min() < 0 or triangles.max() >= vertices:
        raise ValueError(f"vertices must be numbers, and faces name vertices 0 … {vertices - 1}")
    return corners, triangles


def surface_points(corners: Floats, triangles: Ints, count: int, seed: int) -> npt.NDArray[np.float32]:
    """Points `[3, count]`, uniform on the surface, centred and scaled into the unit ball; raises ValueError."""
    a, b, c = (corners[triangles[:, k]] for k in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    if not areas.sum() > 0:
        raise ValueError("its surface has no area")
    rng = np.random.default_rng(seed)
    face = rng.choice(len(triangles), count, p=areas / areas.sum())
    u, v = rng.random((2, count, 1))
    beyond = u + v > 1  # the other half of the parallelogram, folded back
    u, v = np.where(beyond, 1 - u, u), np.where(beyond, 1 - v, v)
    points = a[face] + u * (b - a)[face] + v * (c - a)[face]
    points -= points.mean(0)
    return np.ascontiguousarray((points / np.linalg.norm(points, axis=1).max()).T, dtype=np.float32)


def _cloud(content: bytes, source: Source) -> npt.NDArray[np.float32]:
    return surface_points(*read_off(content.decode("ascii")), POINTS, seed_of("modelnet10", source.path.name))


CLOUDS: Final = Transform(f"points-{POINTS}-{PREPARATION}", (3, POINTS), _cloud, "float32")


def _clouds(folder: Path, paths: Sequence[Path]) -> Rows:
    """Points `[N, 3, POINTS]` of all meshes, whatever cut wants them."""
    return decoded([Source(path, str(path.relative_to(folder))) for path in paths], CLOUDS)


def _files(folder: Path, split: str, problems: list[str]) -> tuple[list[Path], Ints]:
    """Meshes of a split, by class and name, and their classes `[N]`."""
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(CLASSES):
        found = sorted((folder / name / split).glob("*.off"))
        if not found:
            problems.append(f"{folder / name / split} has no .off files")
        paths += found
        labels += [label] * len(found)
    return paths, np.array(labels, dtype=np.int64)


def load(largest: int, factor: float, root: Path | None) -> Data:
    """List, draw points of all meshes, once, and cut; raises DataError with every file."""
    if root is None:
        raise DataError(f"{FOLDER} is looked for below a data root, and none is set; {ORIGIN.steps}")
    folder = root / FOLDER
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; {ORIGIN.steps}")
    problems = [
        f"{path}: not one of the ten classes"
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.name not in CLASSES and not path.name.startswith((".", "_"))
    ]
    paths, labels = _files(folder, "train", problems)
    test_paths, test_labels = _files(folder, "test", problems)
    if problems:
        raise DataError(*problems)
    held = min(HELD, max(1, int(np.bincount(labels).min()) // 3))
    try:
        rows = long_tail(labels, long_tail_counts(largest, len(CLASSES), factor), (held,), "modelnet10")
    except ValueError as err:
        raise DataError(f"{folder}: {err}") from err
    clouds = _clouds(folder, [*paths, *test_paths])
    known = np.concatenate([labels, test_labels])
    at = (*rows, np.arange(len(labels), len(known)))
    x = [clouds.read(torch.from_numpy(index)) for index in at]
    digest = hashlib.sha256(b"".join(part.numpy().tobytes() for part in x)).hexdigest()[:16]
    parts = [Table(part, torch.from_numpy(known[index]).float()) for part, index in zip(x, at, strict=True)]
    names = [paths[row].name for row in rows[0]]
    return Data(parts[0], parts[1], parts[2], Units(), f"{digest}-{PREPARATION}", describe=names.__getitem__)


def fixture(root: Path) -> None:
    """Write boxes of made-up sizes in the official layout: 110 meshes of class 0, 25 of class 1, three of every other.

    One file lacks the line break after `OFF`, as some official ones do.
    """
    rng = np.random.default_rng(0)
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
    sides = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    faces = [f"3 {a} {b} {c}" for p, q, r, s in sides for a, b, c in ((p, q, r), (p, r, s))]
    for label, name in enumerate(CLASSES):
        for split, count in (("train", (110, 25, *[3] * 8)[label]), ("test", 2)):
            target = root / FOLDER / name / split
            target.mkdir(parents=True, exist_ok=True)
            for number in range(1, count + 1):
                sizes = rng.uniform(1, 2, 3) * (1 + label, 1, 1)
                vertices = [" ".join(f"{value:.4f}" for value in corner * sizes) for corner in corners]
                gap = "" if number == 1 else "\n"
                text = "\n".join([f"OFF{gap}{len(corners)} {len(faces)} 0", *vertices, *faces])
                (target / f"{name}_{number:04d}.off").write_text(text + "\n", encoding="ascii")


def _encoder(data: Data) -> tuple[nn.Module, int]:
    encoder = PointNet()
    return encoder, encoder.dim


ARCHIVE: Final = "http://3dvision.princeton.edu/projects/2014/3DShapeNets/ModelNet10.zip"
ORIGIN: Final = Origin(
    source="ModelNet10, Wu et al., CVPR 2015, arXiv:1406.5670; 512 points of every mesh, own validation rows",
    licence="for academic use; the meshes belong to their authors",
    page="https://modelnet.cs.princeton.edu/",
    steps=f"get {ARCHIVE} and unpack it in <data root>/modelnet10",
    folder="modelnet10",
    files=(Download(ARCHIVE, "modelnet10/ModelNet10.zip", makes=FOLDER),),
    needs=(FOLDER,),
)


def _workload(name: str, largest: int, factor: float) -> Workload:
    counts = np.minimum(long_tail_counts(largest, len(CLASSES), factor), np.array(TRAIN) - HELD)
    cut = f", imbalance factor {factor:g}" if factor > 1 else ""
    return Workload(
        name=name,
        title=f"furniture from points{cut}",
        unit="class",
        origin=ORIGIN,
        grid=class_grid(len(CLASSES)),
        shots=SHOTS,
        load=partial(load, largest, factor),
        encoder=_encoder,
        task="classification",
        metrics=METRICS,
        settings={
            "train.epochs": 60,
            "train.batch_size": 32,
            "train.lr": 1e-3,
            "train.schedule": "cosine",
            "train.monitor": "val/accuracy/all",
            "ot.label_cost": "class",
            "ranksim.weight": 0.03,  # ours: the published 100 is for ages
        },
        augment=turn_and_jitter,
        counts={"train": int(counts.sum()), "val": HELD * len(CLASSES), "test": 908},
        counted="ours",
        fixture=fixture,
    )


WORKLOADS: Final = (_workload("modelnet10", 10**6, 1), _workload("modelnet10-lt", 200, 20))
