"""STS-B-DIR: two sentences to how similar people find them, from 0 to 5.

Two different splits of the same pairs are in circulation under the same file names: that of Yang et al. (DIR) and that
of Gong et al. (RankSim, also used by later papers). Only 170 of 1,000 test pairs are in both, and the published numbers
on one say nothing about the other. They are told apart by checksum, and every workload's name says which one it is.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from workloads.data import minilm
from workloads.data.words import (
    GLOVE_6B,
    GLOVE_840B,
    GLOVE_840B_FILE,
    Sentences,
    WordVectors,
    numbered,
    vocabulary,
    write_text_vectors,
)
from workloads.encoders.text import PairBiLSTM, PairMLP
from workloads.hparams import Value
from workloads.labels import LabelGrid, ShotLists, ShotRule, Shots
from workloads.workload import Data, DataError, Download, Origin, Split, Table, Units, Workload

PARTS: Final = ("train", "dev", "test")
COLUMNS: Final = (
    *("index", "genre", "filename", "year", "old_index", "source1", "source2"),
    *("sentence1", "sentence2", "score"),
)
LONGEST: Final = 40
"""Words of a sentence that are read, as published."""
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""

GRID: Final = LabelGrid(0.0, 5.0, 50, learnt_in="labels")
OFFICIAL: Final = ShotLists(many=(*range(0, 1), *range(10, 49, 2), 49), medium=(2, 4, 6, 8, 27, 35, 37))
"""The published code's lists. They call bins 15, 25, 33, 45 and 47 few, which have 20 to 27 training pairs."""


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
DIR_840B: Final = replace(
    DIR,
    origin=replace(
        DIR.origin,
        source=f"{DIR.origin.source}; GloVe 840B (Pennington et al., EMNLP 2014)",
        licence=f"{DIR.origin.licence}; vectors: PDDL",
        steps=f"{DIR.origin.steps} Unpack glove.840B.300d.zip of https://nlp.stanford.edu/projects/glove/ into glove/.",
        files=(
            *DIR.origin.files,
            Download(
                "https://nlp.stanford.edu/data/glove.840B.300d.zip", "glove/glove.840B.300d.zip", makes=GLOVE_840B_FILE
            ),
        ),
        needs=(*DIR.origin.needs, GLOVE_840B_FILE),
    ),
)


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


def _fixture(folder: str, root: Path) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        (root / folder / f"{part}_new.tsv").write_bytes(_fixture_text(part).encode())


def _fixture_with_vectors(folder: str, root: Path) -> None:
    _fixture(folder, root)
    write_text_vectors(GLOVE_840B_FILE, ("The", "man", "dog", "is", "eating", ". . ."), GLOVE_840B.size, root)


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


UNITS: Final = Units(0.0, 5.0)
"""The head predicts y/5, as published."""


def _paired(x: Tensor) -> Tensor:
    """`[2 N, …]`, all first sentences and then all second ones, as `[N, 2, …]`."""
    return torch.stack(x.chunk(2), dim=1)


def load_words(split: PairSplit, vectors: WordVectors, root: Path | None) -> Data:
    """Pairs as word numbers `[N, 2, T]`.

    The vocabulary is that of all three files, as published. What of the test pairs is known in training is thus which
    words occur there, and no more: the vectors are frozen, and a word has the same one whatever else occurs.
    """
    pairs, digest = read(split, root)
    spelled = {part: [vectors.spell(s) for s in (*rows.first, *rows.second)] for part, rows in pairs.items()}
    words = vocabulary(sentence for sentences in spelled.values() for sentence in sentences)
    table = vectors.table(root, words)

    def rows_of(part: str) -> Split:
        x = numbered(spelled[part], words, LONGEST)
        return Sentences(_paired(x), pairs[part].y, torch.from_numpy(table))

    known = hashlib.sha256(np.ascontiguousarray(table).tobytes()).hexdigest()[:8]
    fingerprint = f"{digest}-{known}-{PREPARATION}"
    return Data(rows_of("train"), rows_of("dev"), rows_of("test"), UNITS, fingerprint, describe=pairs["train"].describe)


def load_vectors(split: PairSplit, root: Path | None) -> Data:
    """Pairs as frozen sentence vectors `[N, 2, 384]`."""
    pairs, digest = read(split, root)
    every = [s for rows in pairs.values() for s in (*rows.first, *rows.second)]
    sizes = [2 * len(rows.scores) for rows in pairs.values()]
    made = torch.split(torch.from_numpy(minilm.embed(every)), sizes)
    train, dev, test = (Table(_paired(x), rows.y) for x, rows in zip(made, pairs.values(), strict=True))
    return Data(train, dev, test, UNITS, f"{digest}-minilm-{PREPARATION}", describe=pairs["train"].describe)


def _bilstm(hidden: int, data: Data) -> tuple[nn.Module, int]:
    if not isinstance(data.train, Sentences):
        raise TypeError("an LSTM over words needs rows of word numbers")
    return PairBiLSTM(data.train.vectors, hidden), 8 * hidden


def _mlp(data: Data) -> tuple[nn.Module, int]:
    encoder = PairMLP(minilm.SIZE, (256, 128))
    return encoder, encoder.dim


# The published loss is (ŷ − y)² of scores divided by 5; here every loss sees scores from 0 to 5. So an MSE is 25 times
# the published one, and with it go what is added to it or bounds its gradient: the weight of RankSim (3e-4), weight
# decay (1e-5) and the gradient's norm (5). RankSim's λ moves the ranks by λ times the weight, so λ = 2 becomes 2/25,
# which is below its range: 0.1 is the nearest.
# The β of Huber and Focal-R are of scores divided by 5: 0.3 is 1.5 of a score, 20 is 4 per score.
SCALE: Final = 25.0
PUBLISHED: Final[Mapping[str, Value]] = {
    "train.monitor": "val/mse/all",
    "train.weight_decay": SCALE * 1e-5,
    "train.grad_clip": SCALE * 5.0,
    "train.batch_size": 128,
    "inv.clip_low": 0,
    "inv.clip_high": 10**9,
    "lds.scheme": "inverse",
    "lds.clip_low": 0,
    "lds.clip_high": 10**9,
    "fds.clip_low": 0.5,
    "fds.clip_high": 2.0,
    "fds.empty": "neighbours",
    "huber.beta": 5.0 * 0.3,
    "focal_l1.beta": 20.0 / 5.0,
    "focal_mse.beta": 20.0 / 5.0,
    "ranksim.weight": SCALE * 3e-4,
    "ranksim.strength": 0.1,
}
# Published: validation every 400 batches, that is 9.5 epochs, at most 100 times. Sizes and epochs of the others are
# ours, for a machine without a GPU.
LARGE: Final[Mapping[str, Value]] = {"train.lr": 1e-4, "train.epochs": 200}
SMALL: Final[Mapping[str, Value]] = {"train.lr": 1e-3, "train.epochs": 30}
FROZEN: Final[Mapping[str, Value]] = {"train.lr": 1e-3, "train.epochs": 12}
RANKSIM_TRAINING: Final[Mapping[str, Value]] = {"train.batch_size": 16, "train.lr": 2.5e-4}

DIR_COUNTS: Final = {"train": 5249, "val": 1000, "test": 1000}


def _workload(
    name: str,
    title: str,
    split: PairSplit,
    load: Callable[[Path | None], Data],
    encoder: Callable[[Data], tuple[nn.Module, int]],
    training: Mapping[str, Value],
    counts: tuple[int, int, int],
    shots: ShotRule = OFFICIAL,
    fixture: Callable[[str, Path], None] = _fixture,
) -> Workload:
    return Workload(
        name=name,
        title=f"STS-B-DIR, {split.name} split, {title}",
        unit="score",
        origin=split.origin,
        grid=GRID,
        shots=shots,
        load=load,
        encoder=encoder,
        metrics=("mse", "mae", "gm", "pearson", "spearman"),
        settings={**PUBLISHED, **training},
        counts={**DIR_COUNTS, **dict(zip(("test/many", "test/medium", "test/few"), counts, strict=True))},
        fixture=partial(fixture, split.folder),
    )


# H = 100 with the 50-d vectors is ours: on one core an epoch takes seconds, and with the published H = 1,500 minutes.
WORKLOADS: Final = (
    _workload(
        "sts-b-dir",
        "GloVe 6B 50-d, BiLSTM 2 × 100",
        DIR,
        partial(load_words, DIR, GLOVE_6B),
        partial(_bilstm, 100),
        SMALL,
        (756, 170, 74),
    ),
    _workload(
        "sts-b-dir-strict",
        "shots by the 100/20 rule, GloVe 6B 50-d, BiLSTM 2 × 100",
        DIR,
        partial(load_words, DIR, GLOVE_6B),
        partial(_bilstm, 100),
        SMALL,
        (756, 207, 37),
        Shots(),
    ),
    _workload(
        "sts-b-dir-840b",
        "GloVe 840B 300-d, BiLSTM 2 × 1,500 as published",
        DIR_840B,
        partial(load_words, DIR_840B, GLOVE_840B),
        partial(_bilstm, 1500),
        LARGE,
        (756, 170, 74),
        fixture=_fixture_with_vectors,
    ),
    _workload(
        "sts-b-dir-minilm",
        "frozen all-MiniLM-L6-v2",
        DIR,
        partial(load_vectors, DIR),
        _mlp,
        FROZEN,
        (756, 170, 74),
    ),
    _workload(
        "sts-b-dir-ranksim",
        "GloVe 6B 50-d, BiLSTM 2 × 100",
        RANKSIM,
        partial(load_words, RANKSIM, GLOVE_6B),
        partial(_bilstm, 100),
        {**SMALL, **RANKSIM_TRAINING},
        (775, 175, 50),
    ),
)
