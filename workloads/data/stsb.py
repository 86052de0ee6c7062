"""STS-B-DIR: two sentences to how similar people find them, from 0 to 5.

Two different splits of the same pairs are in circulation, see `workloads.data.stsb_pairs`. Every workload's name says
which one it is.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from workloads.data import minilm
from workloads.data.new_pairs import VectorPairs, WordPairs, paired
from workloads.data.stsb_pairs import (
    COLUMNS,
    DIR,
    GRID,
    PARTS,
    RANKSIM,
    SPLITS,
    PairSplit,
    read,
    split_of,
    write_fixture,
)
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
from workloads.labels import ShotLists, ShotRule, Shots
from workloads.workload import Data, Download, Split, Table, Units, Workload

__all__ = ["COLUMNS", "DIR", "GRID", "PARTS", "RANKSIM", "SPLITS", "WORKLOADS", "read", "split_of"]

LONGEST: Final = 40
"""Words of a sentence that are read, as published."""
PREPARATION: Final = 1
"""Raise it when the preparation changes, here or in `stsb_pairs`, so that old trials are not taken for new ones."""

OFFICIAL: Final = ShotLists(many=(*range(0, 1), *range(10, 49, 2), 49), medium=(2, 4, 6, 8, 27, 35, 37))
"""The published code's lists. They call bins 15, 25, 33, 45 and 47 few, which have 20 to 27 training pairs."""
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


def _fixture_with_vectors(folder: str, root: Path) -> None:
    write_fixture(folder, root)
    write_text_vectors(GLOVE_840B_FILE, ("The", "man", "dog", "is", "eating", ". . ."), GLOVE_840B.size, root)


UNITS: Final = Units(0.0, 5.0)
"""The head predicts y/5, as published."""


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
        return Sentences(paired(x), pairs[part].y, torch.from_numpy(table))

    known = hashlib.sha256(np.ascontiguousarray(table).tobytes()).hexdigest()[:8]
    fingerprint = f"{digest}-{known}-{PREPARATION}"
    train, dev, test = (rows_of(part) for part in PARTS)
    new_rows = WordPairs(words, vectors.lower, LONGEST)
    return Data(train, dev, test, UNITS, fingerprint, describe=pairs["train"].describe, new_rows=new_rows)


def load_vectors(split: PairSplit, root: Path | None) -> Data:
    """Pairs as frozen sentence vectors `[N, 2, 384]`."""
    pairs, digest = read(split, root)
    every = [s for rows in pairs.values() for s in (*rows.first, *rows.second)]
    sizes = [2 * len(rows.scores) for rows in pairs.values()]
    made = torch.split(torch.from_numpy(minilm.embed(every)), sizes)
    train, dev, test = (Table(paired(x), rows.y) for x, rows in zip(made, pairs.values(), strict=True))
    fingerprint = f"{digest}-minilm-{PREPARATION}"
    return Data(train, dev, test, UNITS, fingerprint, describe=pairs["train"].describe, new_rows=VectorPairs())


def _bilstm(hidden: int, data: Data) -> tuple[nn.Module, int]:
    if not isinstance(data.train, Sentences):
        raise TypeError("an LSTM over words needs rows of word numbers")
    return PairBiLSTM(data.train.vectors, hidden), 8 * hidden


def _mlp(data: Data) -> tuple[nn.Module, int]:
    encoder = PairMLP(minilm.SIZE, (256, 128))
    return encoder, encoder.dim


def _scaled(scale: float) -> Mapping[str, Value]:
    """What goes with the scale of the loss, from the published settings for scores divided by 5.

    That is what is added to the loss or bounds its gradient: the weight of RankSim (3e-4), weight decay (1e-5) and the
    gradient's norm (5). RankSim's λ moves the ranks by λ times the weight, so λ = 2 becomes 2/scale.
    """
    return {
        "train.weight_decay": scale * 1e-5,
        "train.grad_clip": scale * 5.0,
        "ranksim.weight": scale * 3e-4,
        "ranksim.strength": 2.0 / scale,
    }


# Published losses are of scores divided by 5; here every loss sees scores from 0 to 5. So a squared error is 25 times
# the published one, an absolute one 5 times, and Huber's, whose β is 5 times the published one, too.
# The β of Huber and Focal-R are of scores divided by 5: 0.3 is 1.5 of a score, 20 is 4 per score.
SQUARED: Final = 25.0
ABSOLUTE: Final = 5.0
BY_OBJECTIVE: Final = dict.fromkeys(("l1", "huber", "focal_l1"), _scaled(ABSOLUTE))
PUBLISHED: Final[Mapping[str, Value]] = {
    **_scaled(SQUARED),
    "train.monitor": "val/mse/all",
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
    fixture: Callable[[str, Path], None] = write_fixture,
    version: int = 2,  # 2: of the LSTM, which reads sentences in groups of similar length
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
        light=encoder is _mlp,
        metrics=("mse", "mae", "gm", "pearson", "spearman"),
        settings={**PUBLISHED, **training},
        by_objective=BY_OBJECTIVE,
        counts={**DIR_COUNTS, **dict(zip(("test/many", "test/medium", "test/few"), counts, strict=True))},
        fixture=partial(fixture, split.folder),
        version=version,
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
        version=1,
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
