"""AgeDB-DIR and IMDB-WIKI-DIR: a face to the age of the person, with the splits of Yang et al., ICML 2021.

The splits are CSV files, `age,path,split`, with paths below the folder of the data set:

    <root>/agedb/agedb.csv            <root>/agedb/AgeDB/11706_OliviaHussey_31_f.jpg
    <root>/imdb-wiki/imdb_wiki.csv    <root>/imdb-wiki/imdb_crop/…, <root>/imdb-wiki/wiki_crop/…

Images are decoded once, to 224 px, into a cache: 2.5 GB for AgeDB, 32 GB for IMDB-WIKI.
"""

import csv
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import torch
from PIL import Image
from torch import nn

from workloads.cache import CachedSplit, Source, decoded
from workloads.data.images import resized
from workloads.encoders.images import crop_and_flip, resnet50
from workloads.hparams import Value
from workloads.labels import LabelGrid, Shots
from workloads.workload import Data, DataError, Download, Drawn, Origin, Units, Workload

COLUMNS: Final = ("age", "path", "split")
SPLITS: Final = ("train", "val", "test")
GRID: Final = LabelGrid(0.0, 121.0, 121, learnt_in="labels")
"""Bins of one year; older ages, which IMDB-WIKI has, fall into the last bin as in the published code."""
PUBLISHED: Final[Mapping[str, Value]] = {
    "train.epochs": 90,
    "train.batch_size": 256,
    "train.optimizer": "adam",
    "train.lr": 1e-3,
    "train.schedule": "steps",
    "fds.last_bin": 99,
}
"""Settings of the published code that hold for both data sets."""
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""
ADDRESS: Final = "https://raw.githubusercontent.com/YyzHarry/imbalanced-regression/main"


@dataclass(frozen=True)
class FaceSet:
    """What differs between the data sets: names, places, the oldest age that is no mistake, published facts.

    `people` are the folders of images.
    """

    name: str
    title: str
    file: str
    people: tuple[str, ...]
    oldest: float
    origin: Origin
    counts: Mapping[str, int]
    settings: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A line of the CSV."""

    line: int
    age: float
    path: str
    split: str


def read_labels(path: Path, oldest: float) -> tuple[list[Row], list[str]]:
    """The sound rows of a CSV, and the problems of the others with file and line.

    Raises DataError when there is no such file or when columns are missing, for then nothing can be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            absent = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if absent:
                raise DataError(
                    f"{path}:1: column {', '.join(absent)} missing: "
                    f"expected {','.join(COLUMNS)}, found {','.join(reader.fieldnames or ())}"
                )
            checked = [_row(path, reader.line_num, cells, oldest) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise DataError(f"{path} is not a readable CSV file: {err}") from err
    rows = [row for row, _ in checked if row is not None]
    problems = [problem for _, found in checked for problem in found]
    present = {row.split for row in rows}
    problems += [f"{path}: the split {split} has no sound row" for split in SPLITS if split not in present]
    return rows, problems


def _row(path: Path, line: int, cells: Mapping[str, str | None], oldest: float) -> tuple[Row | None, list[str]]:
    """The row if it is sound, else all that is wrong with it."""
    age, name, split = (cells[column] or "" for column in COLUMNS)
    problems = []
    try:
        value = float(age)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= oldest:
        problems.append(f"{path}:{line}: age must be a number from 0 to {oldest:g}, found {age!r}")
    place = PurePosixPath(name)
    if not name or place.is_absolute() or ".." in place.parts:
        problems.append(f"{path}:{line}: path must name a file below {path.parent}, found {name!r}")
    if split not in SPLITS:
        problems.append(f"{path}:{line}: split must be {', '.join(SPLITS)}, found {split!r}")
    return (None, problems) if problems else (Row(line, value, name, split), [])


def _absent(faces: FaceSet, folder: Path, sources: Sequence[Source]) -> list[str]:
    """A problem for every folder that has none of its images: one line instead of many thousands."""
    problems = []
    for people in faces.people:
        theirs = [source for source in sources if source.name.startswith(f"{people}/")]
        if theirs and not any(source.path.is_file() for source in theirs):
            problems.append(
                f"{folder / people}: the images are missing, only the labels are there: none of {len(theirs):,} files, "
                f"the first of which is {theirs[0].path}. {faces.origin.steps}"
            )
    return problems


def _drawn(rows: Sequence[Row], split: str) -> Drawn:
    numbers = np.array([number for number, row in enumerate(rows) if row.split == split], dtype=np.int64)
    return Drawn(numbers, [rows[number].path for number in numbers])


def load(faces: FaceSet, size: int, root: Path | None) -> Data:
    """Read the labels and decode the images, once; an image that several rows name is decoded once.

    Raises DataError with all that is wrong with labels and images together.
    """
    if root is None:
        raise DataError(
            f"{faces.name} needs the folder that holds {faces.origin.folder}/{faces.file}: set TAILSWEEP_DATA to it. "
            f"{faces.origin.steps}"
        )
    folder = root / faces.origin.folder
    table = folder / faces.file
    if not table.is_file():
        raise DataError(f"{table} is missing: it is {faces.origin.files[0].url}. {faces.origin.steps}")
    rows, problems = read_labels(table, faces.oldest)
    first = {row.path: row.line for row in reversed(rows)}
    sources = [
        Source(folder / name, name, f"{table}:{line}") for name, line in sorted(first.items(), key=lambda x: x[1])
    ]
    if absent := _absent(faces, folder, sources):
        raise DataError(*problems, *absent)
    try:
        images = decoded(sources, resized(size))
    except DataError as err:
        raise DataError(*problems, *err.problems) from err
    if problems:
        raise DataError(*problems)
    at = {source.name: position for position, source in enumerate(sources)}

    def part(split: str) -> CachedSplit:
        picked = [row for row in rows if row.split == split]
        ages = torch.tensor([row.age for row in picked], dtype=torch.float32)
        return CachedSplit(images, torch.tensor([at[row.path] for row in picked]), ages)

    digest = hashlib.sha256(table.read_bytes() + images.digest.encode()).hexdigest()[:16]
    fingerprint = f"{digest}-{size}-{PREPARATION}"
    drawn = _drawn(rows, "train"), _drawn(rows, "val"), _drawn(rows, "test")
    describe = drawn[0].names.__getitem__
    return Data(part("train"), part("val"), part("test"), Units(), fingerprint, describe=describe, drawn=drawn)


FIXTURE: Final[Mapping[int, int]] = {30: 101, 31: 101, 45: 24, 46: 24, 5: 5, 70: 5, 71: 5}
"""Training rows by age in the made-up files: every region has rows, and most ages neighbours for FDS."""


def write_fixture(faces: FaceSet, root: Path) -> None:
    """A CSV and 49 small JPEG files in the official layout: the older, the brighter.

    Several training rows name the same file, so that few images make many-shot ages. Validation and test have files of
    their own. The same files in every call.
    """
    folder = root / faces.origin.folder
    random = np.random.default_rng(0)
    lines = [",".join(COLUMNS)]
    for age, count in FIXTURE.items():
        for split, files, rows in (("train", 3, count), ("val", 2, 2), ("test", 2, 2)):
            names = []
            for number in range(files):
                people = faces.people[number % len(faces.people)]
                names.append(f"{people}/{split}{number}_Nobody_{age}_f.jpg")
                (folder / people).mkdir(parents=True, exist_ok=True)
                pixels = (2 * age + random.integers(0, 60, size=(40, 36, 3))).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / names[-1], quality=90)
            lines += [f"{age},{names[row % files]},{split}" for row in range(rows)]
    (folder / faces.file).write_text("\n".join(lines) + "\n", encoding="utf-8")


def face_workload(faces: FaceSet, size: int = 224, encoder: Callable[[], tuple[nn.Module, int]] = resnet50) -> Workload:
    """The workload as published, or with smaller images and another encoder."""
    return Workload(
        name=faces.name,
        title=faces.title,
        unit="years",
        origin=faces.origin,
        grid=GRID,
        shots=Shots(many=100, few=20),
        load=partial(load, faces, size),
        encoder=lambda data: encoder(),
        settings={**PUBLISHED, **faces.settings},
        kind="images",
        augment=crop_and_flip,
        needs=("transformers", "kornia"),
        counts=faces.counts,
        fixture=partial(write_fixture, faces),
    )


AGEDB: Final = FaceSet(
    name="agedb-dir",
    title="age from a face, AgeDB-DIR",
    file="agedb.csv",
    people=("AgeDB",),
    oldest=121.0,
    origin=Origin(
        source="AgeDB (Moschoglou et al., CVPR Workshops 2017), split of Yang et al., ICML 2021, arXiv:2102.09554",
        licence="images: non-commercial research, by agreement with the authors; split: MIT",
        page="https://ibug.doc.ic.ac.uk/resources/agedb/",
        steps=(
            "Ask the authors of AgeDB for the archive's password (https://ibug.doc.ic.ac.uk/resources/agedb/), unpack "
            "it to agedb/AgeDB below the data root, and put agedb.csv into agedb."
        ),
        folder="agedb",
        needs=("agedb/agedb.csv", "agedb/AgeDB"),
        files=(
            Download(
                f"{ADDRESS}/agedb-dir/data/agedb.csv",
                "agedb/agedb.csv",
                "ab9f8d4c7099a9d74ec5094c42b6fe9f1927a166a48d2ab800a88b2fd6081252",
            ),
        ),
    ),
    counts={
        "train": 12_208,
        "val": 2_140,
        "test": 2_140,
        "train/many": 11_154,
        "train/medium": 851,
        "train/few": 203,
        "test/many": 1_530,
        "test/medium": 448,
        "test/few": 162,
    },
    settings={"fds.first_bin": 3},
)

IMDB_WIKI: Final = FaceSet(
    name="imdb-wiki-dir",
    title="age from a face, IMDB-WIKI-DIR",
    file="imdb_wiki.csv",
    people=("imdb_crop", "wiki_crop"),
    oldest=200.0,  # the published selection keeps 0 to 200
    origin=Origin(
        source="IMDB-WIKI (Rothe et al., IJCV 2018), split of Yang et al., ICML 2021, arXiv:2102.09554",
        licence="images: academic research only, under their owners' copyright; split: MIT",
        page="https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/",
        steps=(
            "Fetch imdb_crop.tar and wiki_crop.tar, the faces only (https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/"
            "), unpack them to imdb-wiki below the data root, and put imdb_wiki.csv there too."
        ),
        folder="imdb-wiki",
        needs=("imdb-wiki/imdb_wiki.csv", "imdb-wiki/imdb_crop", "imdb-wiki/wiki_crop"),
        files=(Download(f"{ADDRESS}/imdb-wiki-dir/data/imdb_wiki.csv", "imdb-wiki/imdb_wiki.csv"),),
    ),
    counts={"train": 191_509, "val": 11_022, "test": 11_022},
)

WORKLOADS: Final = (face_workload(AGEDB), face_workload(IMDB_WIKI))
