"""Compacted records: many in one Parquet object, `ledger/compact/<phase>/<number>.parquet`.

Segments are numbered, created under a number that is free, and never changed, so they form one sequence that all
processes agree on: what a segment holds is in no earlier one, since whoever created it had read those.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.errors import StorageFailed
from orchestrator.ledger.records import SCHEMAS, Phase
from orchestrator.storage.store import Store

Attempt: TypeAlias = tuple[str, int]
"""A trial id and the number of the attempt."""

READERS: Final = 16
ROWS: Final = 256
"""Records of a row group: what is decoded to look up one of them."""
ORDER: Final = ("study", "workload", "recipe", "number", "trial_id", "attempt")
"""A planner asks cell by cell: neighbours in a segment are asked for together."""


class Segments:
    """The segments of a phase, as far as this process has seen them."""

    def __init__(self, store: Store, phase: Phase) -> None:
        self._store, self._phase = store, phase
        self._keys: list[str] = []
        self._index: dict[Attempt, tuple[int, int]] = {}
        self._file = lru_cache(maxsize=16)(self._open)
        self._group = lru_cache(maxsize=8)(lambda segment, group: self._file(segment).read_row_group(group))
        self.refresh()

    def __contains__(self, attempt: Attempt) -> bool:
        return attempt in self._index

    def __len__(self) -> int:
        return len(self._index)

    @property
    def attempts(self) -> Iterable[Attempt]:
        """Everything that the segments hold."""
        return self._index.keys()

    @property
    def keys(self) -> list[str]:
        """Keys of the segments, in order."""
        return list(self._keys)

    def refresh(self) -> bool:
        """Take in the segments that are new; says whether there were any."""
        known = set(self._keys)
        fresh = [key for key in self._store.keys(f"ledger/compact/{self._phase}/") if key not in known]
        for key in fresh:
            ids = from_parquet(self._bytes(key), key, ["trial_id", "attempt"])
            segment = len(self._keys)
            pairs = zip(ids["trial_id"].to_pylist(), ids["attempt"].to_pylist(), strict=True)
            for row, attempt in enumerate(pairs):
                self._index.setdefault(attempt, (segment, row))
            self._keys.append(key)
        return bool(fresh)

    def row(self, attempt: Attempt) -> dict[str, Any] | None:
        """One record, or None."""
        if attempt not in self._index:
            return None
        segment, row = self._index[attempt]
        found: dict[str, Any] = self._group(segment, row // ROWS).slice(row % ROWS, 1).to_pylist()[0]
        return found

    def tables(self, columns: list[str] | None = None) -> list[pa.Table]:
        """All records, a table per segment."""
        return [from_parquet(self._bytes(key), key, columns) for key in self._keys]

    def append(self, table: pa.Table) -> bool:
        """Write the next segment; False when another process took its number first: refresh, and look again."""
        number = int(self._keys[-1].rsplit("/", 1)[1].removesuffix(".parquet")) + 1 if self._keys else 0
        table = table.sort_by([(name, "ascending") for name in ORDER])
        key = f"ledger/compact/{self._phase}/{number:06}.parquet"
        return self._store.create(key, to_parquet(table, ROWS))

    def _bytes(self, key: str) -> bytes:
        return self._store.get(key) or b""

    def _open(self, segment: int) -> Any:
        return pq.ParquetFile(io.BytesIO(self._bytes(self._keys[segment])))


def concat(phase: Phase, tables: Iterable[pa.Table], columns: list[str] | None = None) -> pa.Table:
    """Tables as one, in the schema of the phase."""
    empty = SCHEMAS[phase].empty_table()
    return pa.concat_tables([empty if columns is None else empty.select(columns), *tables], promote_options="default")


def each(function: Callable[[str], Any], keys: Iterable[str]) -> Iterator[Any]:
    """A function of many keys, several at a time: most of it is waiting."""
    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(function, keys)


def to_parquet(table: pa.Table, rows: int | None = None) -> bytes:
    """A table as the bytes of a Parquet file, in groups of so many rows."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=rows)
    return sink.getvalue()


def from_parquet(data: bytes, name: str, columns: list[str] | None = None) -> pa.Table:
    """The table in the bytes of a Parquet file; raises StorageFailed with its name."""
    try:
        return pq.read_table(io.BytesIO(data), columns=columns)
    except (pa.ArrowInvalid, OSError) as err:
        raise StorageFailed(f"{name} in the ledger cannot be read: {err}; remove it to train the trial again") from err
