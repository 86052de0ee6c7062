"""Compacted records: many in one Parquet object, `ledger/compact/<phase>/<number>.parquet`.

Segments are numbered, created under a number that is free, and never changed, so they form one sequence that all
processes agree on: what a segment holds is in no earlier one, since its creator had read those. Only a repair writes a
segment again, when it is damaged, without the records that are lost.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa

from orchestrator.errors import StorageFailed
from orchestrator.ledger.names import Attempt, segment_number, segments_in
from orchestrator.ledger.parquet import Damaged, from_parquet, is_sealed, open_parquet, reading, salvage, to_parquet
from orchestrator.ledger.records import SCHEMAS, Phase
from orchestrator.ledger.schemas import conforming
from orchestrator.storage.store import Store

READERS: Final = 16
ROWS: Final = 256
"""Records of a row group: what is decoded to look up one of them, and what is lost with a damaged byte."""
ORDER: Final = ("study", "workload", "recipe", "number", "trial_id", "attempt")
"""A planner asks cell by cell: neighbours in a segment are asked for together."""
SHOWN: Final = 8


class Segments:
    """The segments of a phase, as far as this process has seen them."""

    def __init__(self, store: Store, phase: Phase) -> None:
        self._store, self._phase = store, phase
        self._keys: list[str] = []
        self._index: dict[Attempt, tuple[int, int]] = {}
        self._file = lru_cache(maxsize=16)(self._open)
        self._group = lru_cache(maxsize=8)(self._read_group)
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
        """Take in the segments that are new; says whether there were any.

        Raises StorageFailed for a damaged one, with what it holds and what to do.
        """
        known = set(self._keys)
        fresh = [key for key in self._store.keys(segments_in(self._phase)) if key not in known]
        fresh = [key for key in fresh if segment_number(key) is not None]
        for key in fresh:
            ids = self._table(key, ["trial_id", "attempt"])
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
        key = self._keys[segment]
        try:
            with reading(key):
                found: dict[str, Any] = self._group(segment, row // ROWS).slice(row % ROWS, 1).to_pylist()[0]
        except Damaged as err:  # not a damaged record: its trial must not be trained again unasked
            raise StorageFailed(str(err)) from err
        if (found["trial_id"], found["attempt"]) != attempt:
            raise StorageFailed(f"{self._store.locate(key)} was repaired while it was read; run the same command again")
        return found

    def tables(self, columns: list[str] | None = None, first: int = 0) -> list[pa.Table]:
        """All records of the segments from one on, a table each."""
        return [self._table(key, columns) for key in self._keys[first:]]

    def append(self, table: pa.Table) -> bool:
        """Write the next segment; False when another process took its number first: refresh, and look again."""
        number = (segment_number(self._keys[-1]) or 0) + 1 if self._keys else 0
        table = table.sort_by([(name, "ascending") for name in ORDER])
        return self._store.create(f"{segments_in(self._phase)}{number:06}.parquet", to_parquet(table, ROWS))

    def _table(self, key: str, columns: list[str] | None = None) -> pa.Table:
        data = self._store.get(key) or b""
        try:
            return conforming(from_parquet(data, key, columns), self._phase, key, columns)
        except Damaged as err:
            raise StorageFailed(damage(key, data, str(err))) from err

    def _open(self, segment: int) -> Any:
        key = self._keys[segment]
        data = self._store.get(key) or b""
        try:
            with reading(key):
                is_sealed(data)
                return open_parquet(data)
        except Damaged as err:
            raise StorageFailed(damage(key, data, str(err))) from err

    def _read_group(self, segment: int, group: int) -> pa.Table:
        try:
            with reading(self._keys[segment]):
                return self._file(segment).read_row_group(group)
        except Damaged as err:
            raise StorageFailed(str(err)) from err


def damage(key: str, data: bytes, why: str) -> str:
    """What is wrong with a segment, what it holds, and what to do."""
    left = salvage(data, ["workload", "recipe"])
    if left.table is None:
        return f"{why} It is a segment of up to 20,000 records, and none of them can be read one by one"
    cells = sorted({f"{row['workload']}/{row['recipe']}" for row in left.table.to_pylist()})
    more = f" and {len(cells) - SHOWN} more" if len(cells) > SHOWN else ""
    return (
        f"{why}, which keeps the {len(left.table)} of its {left.rows} records that can be read; the next sweep trains "
        f"the others again. Those that can be read are of {', '.join(cells[:SHOWN])}{more}"
    )


def concat(phase: Phase, tables: Iterable[pa.Table], columns: list[str] | None = None) -> pa.Table:
    """Tables as one, in the schema of the phase."""
    empty = SCHEMAS[phase].empty_table()
    return pa.concat_tables([empty if columns is None else empty.select(columns), *tables], promote_options="default")


def each(function: Callable[[str], Any], keys: Iterable[str]) -> Iterator[Any]:
    """A function of many keys, several at a time: most of it is waiting."""
    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(function, keys)
