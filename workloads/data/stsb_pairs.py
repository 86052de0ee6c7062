"""The files of STS-B-DIR: which of the two splits they are of, and their pairs of sentences with scores.

Two different splits of the same pairs are in circulation under the same file names: that of Yang et al. (DIR) and that
of Gong et al. (RankSim, also used by later papers). Only 170 of 1,000 test pairs are in both, and the published numbers
on one say nothing about the other. They are identified by checksum, and every workload's name says which one it is.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from workloads.labels import LabelGrid
from workloads.workload import DataError, Download, Origin

PARTS: Final = ("train", "dev", "test")
COLUMNS: Final = (
    *("index", "genre", "filename", "year", "old_index", "source1", "source2"),
    *("sentence1", "sentence2", "score"),
)
GRID: Final = LabelGrid(0.0, 5.0, 50, learnt_in="labels")


@dataclass(frozen=True)
class PairSplit:
    """One of the splits: its name, the workload that reads it, where it comes from, and how its files begin (MD5)."""

    name: str
    folder: str
    origin: Origin
    md5: Mapping[str, str]


def _origin(folder: str, source: str, licence: str, repository: str, commit: str, sha256: Sequence[str]) -> Origin:
    raw = f"https://raw.githubusercontent.com/{repository}/{commit}/sts-b-dir/glue_data/STS-B"
    return Origin(
        source=source,
        licence=licence,
        page=f"https://github.com/{repository}/tree/main/sts-b-dir",
        steps=f"Put train_new.tsv, dev_new.tsv and test_new.tsv, byte for byte, into {folder}/ below the data root.",
        folder=folder,
        files=tuple(
            Download(f"{raw}/{part}_new.tsv", f"{folder}/{part}_new.tsv", checksum)
            for part, checksum in zip(PARTS, sha256, strict=True)
        ),
        needs=tuple(f"{folder}/{part}_new.tsv" for part in PARTS),
    )


DIR: Final = PairSplit(
    "DIR",
    "sts-b-dir",
    _origin(
        "sts-b-dir",
        "STS-B (Cer et al., SemEval 2017), split of Yang et al., ICML 2021, arXiv:2102.09554",
        "pairs: the terms of their sources, see the STS benchmark; split: MIT",
        "YyzHarry/imbalanced-regression",
        "c37d6f46d35e5a0b37277d8d925ad112ed8ef487",
        (
            "4da3322ae29f7ad1b7d03cdeafcb2480c276e5df1d08737678a7856697218a9a",
            "9ec12d785aa817ffe4b0f88fde442d3bf57161d8cbeaa84aaa1fdf764cca6dd6",
            "55f90b3c5a0b2947d5ff64c41536191e9e1ba3bb5ffe64aca5465ab25fa8e94c",
        ),
    ),
    {
        "train": "417b2050d2d11d96605a9c3510247dfa",
        "dev": "b5298b998f168601804e341714293496",
        "test": "481f6ca9d98a0f78a7826816fec85cec",
    },
)
RANKSIM: Final = PairSplit(
    "RankSim",
    "sts-b-dir-ranksim",
    _origin(
        "sts-b-dir-ranksim",
        "STS-B (Cer et al., SemEval 2017), split of Gong et al., ICML 2022, arXiv:2205.15236",
        "pairs: the terms of their sources, see the STS benchmark; split: CC BY-NC-SA 4.0",
        "BorealisAI/ranksim-imbalanced-regression",
        "b08052da550d61837b1218106f688a732d06bcca",
        ("", "", ""),
    ),
    {"train": "64b79991", "dev": "2ea87da8", "test": "8594bdf5"},  # the first digits are what is known
)
SPLITS: Final = (DIR, RANKSIM)


@dataclass(frozen=True)
class Pairs:
    """The rows of a file: sentences `[N]`, `[N]` and scores `[N]`."""

    first: Sequence[str]
    second: Sequence[str]
    scores: Sequence[float]

    @property
    def y(self) -> Tensor:
        """Scores `[N]`, float32."""
        return torch.tensor(self.scores, dtype=torch.float32)

    def describe(self, row: int) -> str:
        """Both sentences of a row."""
        return f"{self.first[row]} | {self.second[row]}"


def _fixture_text(part: str) -> str:
    """A small made-up file in the official layout, the same every time: some scores frequent, some rare."""
    things = ("man", "dog", "woman", "cat", "boy", "horse", "girl", "bird")
    deeds = ("is eating", "isn't running", "plays the guitar", "said 1,000 words", 'has a "plan')  # a quote unpaired
    frequent = {"train": (104, 30, 24, 6), "dev": (8, 8, 8, 4), "test": (9, 9, 8, 4)}[part]
    lines = ["\t".join(COLUMNS)]
    for score, count in zip((0.0, 5.0, 2.75, 4.15), frequent, strict=True):
        for i in range(count):
            n = len(lines) + len(part)
            same = score > 2.5 + i % 2
            first = f"The {things[n % 8]} {deeds[n % 5]}."
            second = first if same else f"A {things[(n + 3) % 8]} {deeds[(n + 2) % 5]}."
            lines.append("\t".join((str(len(lines) - 1), *("made-up",) * 6, first, second, f"{score:.3f}")))
    return "\n".join(lines) + "\n"


def write_fixture(folder: str, root: Path) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        (root / folder / f"{part}_new.tsv").write_bytes(_fixture_text(part).encode())


def split_of(part: str, content: bytes) -> str | None:
    """Which split a file is of: `DIR`, `RankSim`, `made up` (the files that `fixture` writes), or None.

    `part` is `train`, `dev` or `test`.
    """
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    known = next((split.name for split in SPLITS if digest.startswith(split.md5[part])), None)
    return known or ("made up" if content == _fixture_text(part).encode() else None)


def _folder(root: Path | None, split: PairSplit) -> Path:
    """`<root>/<folder>`, or below it the repository's own `glue_data/STS-B`."""
    if root is None:
        raise DataError(
            f"{split.folder} needs a folder of data sets: set TAILSWEEP_DATA, or data in the study file. "
            f"{split.origin.steps} They are at {split.origin.page}"
        )
    nested = root / split.folder / "glue_data" / "STS-B"
    return nested if nested.is_dir() else root / split.folder


def _problems_of_split(path: Path, part: str, content: bytes, split: PairSplit) -> Iterator[str]:
    found = split_of(part, content)
    if found in {split.name, "made up"}:
        return
    other = next((other for other in SPLITS if other.name == found), None)
    if other is not None:
        yield (
            f"{path} is of the {other.name} split, and {split.folder} is the {split.name} split: move it to "
            f"{other.folder}/ and study a workload that starts with {other.folder}, or fetch {split.origin.page}"
        )
    else:
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        yield (
            f"{path} is of no known split of STS-B-DIR (MD5 {digest}, {split.name} has {split.md5[part]}…): "
            f"fetch it again from {split.origin.page}, with its line ends as they are"
        )


def _parse(path: Path, content: bytes, problems: list[str]) -> Pairs:
    """Rows of a file; appends every problem with file and line. Quotes do not pair up, so this is not CSV."""
    first, second, scores = [], [], []
    try:
        lines = content.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as err:
        problems.append(f"{path} must be UTF-8: byte {err.start} is not; fetch it again")
        return Pairs((), (), ())
    if tuple(lines[0].rstrip("\r").split("\t")) != COLUMNS:
        problems.append(f"{path}:1: expected the columns {', '.join(COLUMNS)}, found {lines[0][:80]!r}")
    for number, line in enumerate(lines[1:], start=2):
        cells = line.rstrip("\r").split("\t")
        if len(cells) != len(COLUMNS):
            problems.append(f"{path}:{number}: expected {len(COLUMNS)} columns between tabs, found {len(cells)}")
            continue
        try:
            score = float(cells[9])
        except ValueError:
            score = math.nan
        if not GRID.low <= score <= GRID.high:
            problems.append(f"{path}:{number}: score must be a number from 0 to 5, found {cells[9]!r}")
        elif not cells[7].strip() or not cells[8].strip():
            problems.append(f"{path}:{number}: a sentence is empty")
        else:
            first.append(cells[7])
            second.append(cells[8])
            scores.append(score)
    if len(lines) < 2:
        problems.append(f"{path} has no rows below its header: fetch it again")
    return Pairs(first, second, scores)


def read(split: PairSplit, root: Path | None) -> tuple[dict[str, Pairs], str]:
    """The three files of a split and their common checksum; raises DataError with all that is wrong with them."""
    folder = _folder(root, split)
    problems: list[str] = []
    pairs: dict[str, Pairs] = {}
    digest = hashlib.sha256()
    for part in PARTS:
        path = folder / f"{part}_new.tsv"
        if not path.is_file():
            problems.append(f"{path} is missing: {split.origin.steps} It is at {split.origin.page}")
            continue
        content = path.read_bytes()
        digest.update(content)
        problems += _problems_of_split(path, part, content, split)
        pairs[part] = _parse(path, content, problems)
    if problems:
        raise DataError(*problems)
    return pairs, digest.hexdigest()[:16]
