"""VADER: a word to how positive people find it, the mean of ten ratings from −4 to 4.

Shipped with the package `vaderSentiment`, so it needs no download: a small demo of text. Words of one stem (`happy`,
`happily`) fall into different splits, which makes the task easier than it would be on words of new stems.
"""

import hashlib
import importlib.util
import itertools
import math
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from workloads.data.split import balanced_split
from workloads.data.words import GLOVE_6B, Vectors
from workloads.encoders.tables import mlp
from workloads.extras import way_out
from workloads.labels import Ints, LabelGrid, Shots
from workloads.seeds import seed_of
from workloads.workload import Data, DataError, Origin, Table, Units, Workload

LEXICON: Final = "vader_lexicon.txt"
WORD: Final = re.compile(r"[a-z][a-z'-]*")
"""What counts as a word; the lexicon holds emoticons too, which have neither vectors nor letters to go by."""
TRIGRAMS: Final = 64
"""Columns into which the trigrams of letters are counted."""
GRID: Final = LabelGrid(-4.05, 4.05, 81, learnt_in="labels")
"""The mean of ten whole numbers is a multiple of 0.1: one bin around each."""
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""

ORIGIN: Final = Origin(
    source="VADER lexicon, Hutto & Gilbert, ICWSM 2014, through the package vaderSentiment 3.3.2",
    licence="MIT; word vectors: PDDL",
    page="https://github.com/cjhutto/vaderSentiment",
)


def _path(root: Path | None) -> Path:
    """`<root>/vader/vader_lexicon.txt` if it is there, else the installed package's."""
    if root is not None and (root / "vader" / LEXICON).is_file():
        return root / "vader" / LEXICON
    package = importlib.util.find_spec("vaderSentiment")  # located, not imported
    if package is None or package.origin is None:
        raise DataError(f"{LEXICON} is missing: {way_out('vaderSentiment')}")
    return Path(package.origin).parent / LEXICON


def _read(path: Path) -> dict[str, float]:
    """Word to valence; raises DataError with all malformed lines."""
    if not path.is_file():
        raise DataError(f"{path} is missing: install the package vaderSentiment again")
    found: dict[str, float] = {}
    problems: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        cells = line.split("\t")
        if len(cells) != 4:
            if line.strip():
                problems.append(f"{path}:{number}: expected 4 columns between tabs, found {len(cells)}")
            continue
        if not WORD.fullmatch(cells[0]):
            continue
        try:
            valence = float(cells[1])
        except ValueError:
            valence = math.nan
        if not -4.0 <= valence <= 4.0:
            problems.append(f"{path}:{number}: valence must be a number from −4 to 4, found {cells[1]!r}")
        else:
            found[cells[0]] = valence  # ten words are there twice; the later one holds, as in VADER's own reader
    if not found:
        problems.append(f"{path} has no words")
    if problems:
        raise DataError(*problems)
    return found


def _features(words: Sequence[str]) -> Vectors:
    """`[N, 51 + 64]`: the word's vector (0 where it has none), whether it has one, and trigrams of its letters."""
    rows, found = GLOVE_6B.find(None, words)
    made = np.zeros((len(words), GLOVE_6B.size + 1 + TRIGRAMS), dtype=np.float32)
    made[rows, : GLOVE_6B.size] = found
    made[rows, GLOVE_6B.size] = 1.0
    for row, word in enumerate(words):
        marked = f"<{word}>"  # so that a prefix differs from the same letters inside
        for start in range(len(marked) - 2):
            made[row, GLOVE_6B.size + 1 + seed_of("trigram", marked[start : start + 3]) % TRIGRAMS] += 1.0
    return made


def load(root: Path | None) -> Data:
    """Read, split balanced over the bins, and look the words up."""
    path = _path(root)
    valences = _read(path)
    words = sorted(valences)
    y = np.array([valences[word] for word in words], dtype=np.float32)
    x = torch.from_numpy(_features(words))
    labels = torch.from_numpy(y)
    parts = balanced_split(GRID.bin(y), 10, "vader valence")
    for part, index in zip(("training", "validation", "test"), parts, strict=True):
        if len(index) == 0:
            raise DataError(f"{path}: no words are left for {part}; a bin needs three words to give one to each part")

    def rows_of(index: Ints) -> Table:
        picked = torch.from_numpy(index)
        return Table(x[picked], labels[picked])

    train, val, test = map(rows_of, parts)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    units = Units(float(train.y.mean()), float(train.y.std()))
    return Data(train, val, test, units, f"{digest}-{PREPARATION}", describe=lambda row: words[parts[0][row]])


def _encoder(data: Data) -> tuple[nn.Module, int]:
    return mlp(GLOVE_6B.size + 1 + TRIGRAMS, (128, 64))


def _fixture(root: Path) -> None:
    """Made-up words of three letters, most of them mildly negative."""
    (root / "vader").mkdir(parents=True, exist_ok=True)
    words = map("".join, itertools.product(string.ascii_lowercase, repeat=3))
    valences = itertools.chain.from_iterable([v] * n for v, n in ((-1.2, 130), (0.5, 60), (2.1, 45), (3.4, 9)))
    lines = [f"{word}\t{valence}\t0.5\t[0]" for valence, word in zip(valences, words, strict=False)]
    (root / "vader" / LEXICON).write_text("\n".join(["$:\t-1.5\t0.8\t[-1]", *lines]) + "\n", encoding="utf-8")


WORKLOADS: Final = (
    Workload(
        name="vader-valence",
        title="valence of a word, GloVe 6B 50-d",
        unit="valence",
        origin=ORIGIN,
        grid=GRID,
        shots=Shots(),
        load=load,
        encoder=_encoder,
        light=True,
        settings={
            "train.epochs": 15,
            "train.batch_size": 128,
            "train.lr": 1e-3,
            "train.schedule": "cosine",
            "ranksim.weight": 0.003,  # ours: the published 100 is for ages, which spread over 100 units and not 8
        },
        fixture=_fixture,
    ),
)
