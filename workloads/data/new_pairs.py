"""New pairs of sentences as inputs of a trained model: columns `sentence1` and `sentence2` of a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import torch
from torch import Tensor

from workloads.data import minilm
from workloads.data.custom.columns import Column
from workloads.data.custom.tables import read_table
from workloads.data.words import UNKNOWN, numbered, spelled
from workloads.messages import brief, listed
from workloads.workload import DataError

NAMES: Final = ("sentence1", "sentence2")


def paired(x: Tensor) -> Tensor:
    """`[2 N, …]`, all first sentences and then all second ones, as `[N, 2, …]`."""
    return torch.stack(x.chunk(2), dim=1)


class Pairs:
    """Pairs of a table, whose sentences a subclass makes into inputs; other columns are left alone."""

    def read(self, path: Path) -> Tensor:
        """Inputs `[N, 2, …]` of a CSV, TSV or Parquet file; raises DataError."""
        cells, _ = read_table(path, NAMES, (), others=False)
        return self._of_columns({name: Column(path, name, cells[name]) for name in NAMES})

    def of_table(self, table: pa.Table, name: str = "the table") -> Tensor:
        """The same of a table in memory."""
        if missing := [column for column in NAMES if column not in table.column_names]:
            has = listed(table.column_names)
            raise DataError(*(f"{name}: column {brief(column)} is missing; it has {has}" for column in missing))
        return self._of_columns({column: Column(Path(name), column, table[column]) for column in NAMES})

    def _of_columns(self, columns: Mapping[str, Column]) -> Tensor:
        sentences, problems = [], []
        for name, column in columns.items():
            for row, text in enumerate(column.texts()):
                sentences.append(text or "")
                if not (text or "").strip():
                    problems.append(f"{column.path}: row {row + 1}: {name!r} must be a sentence: it is empty")
        if problems:
            raise DataError(*problems)
        if not sentences:
            raise DataError(f"{columns[NAMES[0]].path}: has no rows")
        return paired(self._made(sentences))

    def _made(self, sentences: Sequence[str]) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class WordPairs(Pairs):
    """Pairs as numbers of known `words` `[N, 2, T]`; any other word has the number behind theirs."""

    words: Sequence[str]
    lower: bool
    longest: int
    kind: str = "pairs of words"

    def _made(self, sentences: Sequence[str]) -> Tensor:
        known = set(self.words)
        cut = [[w if w in known else UNKNOWN for w in spelled(s, self.lower)] for s in sentences]
        return numbered(cut, [*self.words, UNKNOWN], self.longest)

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> "WordPairs":
        """What `tree_of` wrote."""
        return cls(tree["words"], tree["lower"], tree["longest"])


@dataclass(frozen=True)
class VectorPairs(Pairs):
    """Pairs as frozen sentence vectors `[N, 2, 384]` of all-MiniLM-L6-v2.

    A sentence is padded to the longest beside it, so its vector's last bits depend on the other sentences of the file.
    """

    kind: str = "pairs of sentence vectors"

    def _made(self, sentences: Sequence[str]) -> Tensor:
        return torch.from_numpy(minilm.embed_new(sentences))

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> "VectorPairs":
        """What `tree_of` wrote."""
        return cls()
