"""SST-2 and SST-5: sentences of film reviews to their sentiment, in two classes or five.

SST-2 is read as GLUE distributes it. Its test labels are not public: the official dev set is the test set, and
validation rows, the same number of every class, are held out of train; train holds phrases of sentences as well, so
some validation rows are parts of training sentences. SST-5 is read from the treebank in its official three parts; a
sentence's class is the root of its tree. `-lt` names cut train to a long tail with at most 1,000 rows in a class, class
0 (the most negative) being the largest; sizes and factors are ours.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import nn

from workloads.data.glove import NAME, sentence_means
from workloads.data.longtail import METRICS, SHOTS, class_grid, long_tail, long_tail_counts
from workloads.encoders.tables import mlp
from workloads.labels import Ints
from workloads.seeds import seed_of
from workloads.workload import Data, DataError, Download, Origin, Table, Units, Workload

Rows: TypeAlias = list[tuple[list[str], int]]
"""Words and class of every row."""

ALL: Final = 10**6
"""More rows than any class has."""
HELD: Final = 200
"""Rows of every class of SST-2 that become validation rows."""
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""


@dataclass(frozen=True)
class Treebank:
    """One of the two data sets: files of train, validation (none: held out of train) and test, and a line's reader."""

    name: str
    classes: int
    train: str
    val: str | None
    test: str
    header: str | None
    read: Callable[[str], tuple[list[str], int]]


def _glue(line: str) -> tuple[list[str], int]:
    """Words and class of a line `sentence<tab>label`; raises ValueError."""
    cells = line.split("\t")
    if len(cells) != 2:
        raise ValueError(f"expected sentence and label, found {len(cells)} columns")
    if cells[1] not in ("0", "1"):
        raise ValueError(f"label must be 0 or 1, found {cells[1]!r}")
    return cells[0].split(), int(cells[1])


def _tree(line: str) -> tuple[list[str], int]:
    """Words and class of a tree `(3 (2 It) (4 works))`; raises ValueError."""
    root = re.match(r"\(([0-4]) ", line)
    if root is None:
        raise ValueError(f"a tree starts with '(' and a class in 0 … 4, found {line[:20]!r}")
    if line.count("(") != line.count(")"):
        raise ValueError(f"a tree closes its brackets, found {line.count('(')} open and {line.count(')')} closed")
    words = re.findall(r"\([0-4] ([^()\s]+)\)", line)
    return [{"-LRB-": "(", "-RRB-": ")"}.get(word, word) for word in words], int(root[1])


SST2: Final = Treebank("sst2", 2, "SST-2/train.tsv", None, "SST-2/dev.tsv", "sentence\tlabel", _glue)
SST5: Final = Treebank("sst5", 5, "trees/train.txt", "trees/dev.txt", "trees/test.txt", None, _tree)


def _read(path: Path, bank: Treebank, problems: list[str]) -> Rows:
    """Rows of a file; adds to the problems, with file and line."""
    if not path.is_file():
        problems.append(f"{path} is missing")
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    first = 0
    if bank.header is not None:
        if lines[0].strip() != bank.header:
            problems.append(f"{path}:1: expected the columns {bank.header!r}, found {lines[0][:60]!r}")
        first = 1
    rows: Rows = []
    for number, line in enumerate(lines[first:], start=first + 1):
        if not line.strip():
            continue
        try:
            words, label = bank.read(line.strip())
            if not words:
                raise ValueError("no words")
            rows.append((words, label))
        except ValueError as err:
            problems.append(f"{path}:{number}: {err}")
    if not rows:
        problems.append(f"{path}: it has no rows")
    return rows


def load(bank: Treebank, largest: int, factor: float, root: Path | None) -> Data:
    """Read, cut, and average word vectors: rows `[N, 50]`; raises DataError with every problem."""
    if root is None:
        raise DataError(f"{bank.name} is looked for below a data root, and none is set; {ORIGINS[bank.name].steps}")
    folder = root / bank.name
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; {ORIGINS[bank.name].steps}")
    problems: list[str] = []
    splits = {name: _read(folder / name, bank, problems) for name in (bank.train, bank.val, bank.test) if name}
    if problems:
        raise DataError(*problems)
    labels = np.array([label for _, label in splits[bank.train]], dtype=np.int64)
    fewest = int(np.bincount(labels, minlength=bank.classes).min())
    held = 0 if bank.val else min(HELD, max(1, fewest // 3))
    try:
        train, val = long_tail(labels, long_tail_counts(largest, bank.classes, factor), (held,), bank.name)
    except ValueError as err:
        raise DataError(f"{folder / bank.train}: {err}") from err

    def picked(name: str, index: Ints) -> Rows:
        return [splits[name][row] for row in index]

    digest = hashlib.sha256()
    for name in splits:
        digest.update((folder / name).read_bytes())
    held_out = splits[bank.val] if bank.val else picked(bank.train, val)
    kept = picked(bank.train, train)
    a, b, c = _tables(kept, held_out, splits[bank.test])
    fingerprint = f"{digest.hexdigest()[:16]}-{PREPARATION}"
    return Data(a, b, c, Units(), fingerprint, describe=lambda row: " ".join(kept[row][0]))


def _tables(*parts: Rows) -> list[Table]:
    """One table per part; all words are looked up together, since most of the time goes into reading the index."""
    rows = [row for part in parts for row in part]
    x = torch.from_numpy(sentence_means([words for words, _ in rows]))
    y = torch.tensor([float(label) for _, label in rows])
    sizes = [len(part) for part in parts]
    return [Table(*pair) for pair in zip(torch.split(x, sizes), torch.split(y, sizes), strict=True)]


def fixture(bank: Treebank, counts: Sequence[int], root: Path) -> None:
    """Write made-up sentences in the official layout: `counts` of every class to train on, five to test on."""
    words = ("awful", "weak", "plain", "good", "superb", "film", "a", "the", "(", "story")
    for name, sizes in ((bank.train, counts), (bank.val, [5] * bank.classes), (bank.test, [5] * bank.classes)):
        if name is None:
            continue
        rng = np.random.default_rng(seed_of(name))
        lines = [] if bank.header is None else [bank.header]
        for label in rng.permutation(np.repeat(np.arange(bank.classes), sizes)):
            sentence = [words[label], *rng.choice(words[5:], 3)]
            if bank.header is None:
                leaves = [f"(2 {'-LRB-' if word == '(' else word})" for word in sentence]
                lines.append(f"({label} {' '.join(leaves)})")
            else:
                lines.append(f"{' '.join(sentence)} \t{label}")
        path = root / bank.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


SOURCE: Final = f"Socher et al., EMNLP 2013; sentences are {NAME}, not comparable with published results"
ORIGINS: Final = {
    "sst2": Origin(
        source=f"SST-2 as in GLUE (Wang et al., ICLR 2019), own validation rows; {SOURCE}",
        licence="none stated; for research",
        page="https://gluebenchmark.com/tasks",
        steps="get SST-2.zip from https://dl.fbaipublicfiles.com/glue/data/SST-2.zip and unpack it in <data root>/sst2",
        folder="sst2",
        files=(Download("https://dl.fbaipublicfiles.com/glue/data/SST-2.zip", "sst2/SST-2.zip", makes="sst2/SST-2"),),
        needs=("sst2/SST-2",),
    ),
    "sst5": Origin(
        source=f"SST-5, whole sentences; {SOURCE}",
        licence="none stated; for research",
        page="https://nlp.stanford.edu/sentiment/",
        steps="get https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip and unpack it in <data root>/sst5",
        folder="sst5",
        files=(
            Download(
                "https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip",
                "sst5/trainDevTestTrees_PTB.zip",
                makes="sst5/trees",
            ),
        ),
        needs=("sst5/trees",),
    ),
}


def _encoder(data: Data) -> tuple[nn.Module, int]:
    inputs = data.train.inputs(torch.zeros(1, dtype=torch.long), torch.device("cpu")).shape[1]
    return mlp(inputs, (128, 64))


def _workload(
    name: str, bank: Treebank, largest: int, factor: float, counts: dict[str, int], made: Sequence[int]
) -> Workload:
    cut = f", imbalance factor {factor:g}" if factor > 1 else ""
    return Workload(
        name=name,
        title=f"sentiment of sentences, {bank.classes} classes{cut}",
        unit="class",
        origin=ORIGINS[bank.name],
        grid=class_grid(bank.classes),
        shots=SHOTS,
        load=partial(load, bank, largest, factor),
        encoder=_encoder,
        light=True,
        task="classification",
        metrics=METRICS,
        settings={
            "train.epochs": 30,
            "train.batch_size": 128,
            "train.lr": 1e-3,
            "train.schedule": "cosine",
            "train.monitor": "val/accuracy/all",
            "ot.label_cost": "class",
            "ranksim.weight": 0.03,  # ours: the published 100 is for ages
        },
        counts=counts,
        counted="published" if bank.val and factor == 1 else "ours",
        fixture=partial(fixture, bank, made),
    )


WORKLOADS: Final = (
    _workload("sst2", SST2, ALL, 1, {"train": 67_349 - 2 * HELD, "val": 2 * HELD, "test": 872}, (160, 40)),
    _workload("sst2-lt", SST2, 1000, 100, {"train": 1010, "val": 2 * HELD, "test": 872}, (160, 40)),
    _workload("sst5", SST5, ALL, 1, {"train": 8544, "val": 1101, "test": 2210}, (130, 60, 30, 30, 30)),
    _workload("sst5-lt", SST5, 1000, 100, {"train": 1457, "val": 1101, "test": 2210}, (130, 60, 30, 30, 30)),
)
