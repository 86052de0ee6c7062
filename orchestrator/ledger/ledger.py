"""The append-only record of trials: the single source of truth.

    ledger/tune/<trial id>.<attempt>.parquet            one row each, written once
    ledger/evaluate/<trial id>.<attempt>.parquet
    ledger/compact/<phase>/<number>.parquet             segments: many of these rows, moved
    ledger/predictions/<trial id>.parquet               test predictions of evaluate trials
    checkpoints/<trial id>.pt                           of a trial that is not committed yet

A second attempt exists only where an earlier one failed; the first that did not fail counts, else the last.

Compaction moves loose records into segments while others read and write. It reads the segments, lists the loose
records, creates the segment of the next number with those that are in none, reads it back, and only then deletes them.
Of two compactors one creates that number; the other looks again. One that is killed leaves a segment and copies of its
rows, which the next deletes. Who reads lists loose records before segments: what was deleted in between is in a segment
then. A record in a segment was there first, so a loose one of the same name does not count: a writer that comes after
the compaction looks at the segments when its record is written, and takes it back.
"""

from itertools import count
from typing import Any, Final

import pyarrow as pa

from orchestrator.errors import StorageFailed
from orchestrator.ledger.records import PREDICTIONS, SCHEMAS, Phase, Record
from orchestrator.ledger.segments import Attempt, Segments, concat, each, from_parquet, to_parquet
from orchestrator.storage.store import Store, open_store

PHASES: Final[tuple[Phase, ...]] = ("tune", "evaluate")
MANY: Final = 1000
"""Loose records of a phase from which a sweep compacts them when it ends."""
SEGMENT: Final = 20_000
"""Records of a segment at most: a compaction holds them in memory."""


class Ledger:
    """Trials of one storage; any number of drivers and workers may read, commit and compact at once."""

    def __init__(self, storage: str | Store) -> None:
        self.store: Store = open_store(storage) if isinstance(storage, str) else storage
        self._segments: dict[Phase, Segments] = {}

    def segments(self, phase: Phase) -> Segments:
        """The compacted records of a phase; read when first asked for."""
        if phase not in self._segments:
            self._segments[phase] = Segments(self.store, phase)
        return self._segments[phase]

    def commit(self, record: Record, phase: Phase) -> bool:
        """Write a record once; False when another writer was first, whose record then counts."""
        attempt, segments = (record.trial_id, record.attempt), self.segments(phase)
        key, table = record_key(phase, attempt), record.to_arrow(phase)
        if attempt in segments or not self.store.create(key, to_parquet(table)):
            return False
        segments.refresh()
        if attempt not in segments:
            return True
        self.store.delete(key)
        return repr(segments.row(attempt)) == repr(table.to_pylist()[0])  # this very record may have been compacted

    def find(self, trial_id: str, phase: Phase) -> Record | None:
        """The attempt at a trial that counts, or None when it was never committed."""
        segments = self.segments(phase)
        while True:
            last: Record | None = None
            for number in count():
                row = self.row(phase, (trial_id, number))
                if row is None:
                    break
                last = Record.from_row(row)
                if last.status != "failed":
                    return last
            if not segments.refresh():
                return last

    def row(self, phase: Phase, attempt: Attempt) -> dict[str, Any] | None:
        """One attempt as a row of its schema, from the segments known so far or from a record of its own."""
        known = self.segments(phase).row(attempt)
        if known is not None:
            return known
        data = self.store.get(record_key(phase, attempt))
        if data is None:
            return None
        (row,) = from_parquet(data, f"{phase} record of trial {attempt[0]}").to_pylist()
        found: dict[str, Any] = row
        return found

    def loose(self, phase: Phase) -> dict[Attempt, str]:
        """Keys of the records that are objects of their own."""
        return {_attempt(key): key for key in self.store.keys(f"ledger/{phase}/")}

    def read(self, phase: Phase | None = None, columns: list[str] | None = None) -> pa.Table:
        """All records of a phase as one Arrow table (schema `SCHEMAS[phase]`), those that count, by trial id.

        Without a phase, those of both with a first column `phase`; `test` is null for tuning trials. `columns` keeps
        these only: without `curve`, the largest one, a hundred thousand records fit into a few hundred megabytes.
        """
        if phase is None:
            tables = [(name, self.read(name, _of(name, columns))) for name in PHASES]
            named = [table.add_column(0, "phase", pa.repeat(pa.scalar(name), len(table))) for name, table in tables]
            return pa.concat_tables(named, promote_options="default")
        needed = None if columns is None else list(dict.fromkeys([*columns, "trial_id", "attempt", "status"]))
        loose, segments = self.loose(phase), self.segments(phase)
        segments.refresh()
        alone = [key for attempt, key in loose.items() if attempt not in segments]
        found = [table for table in each(lambda key: self._table(key, needed), alone) if table is not None]
        if len(found) < len(alone):  # compacted since they were listed
            segments.refresh()
            found = [table for table in found if (attempt := _only(table)) is None or attempt not in segments]
            if len(found) + sum(attempt in segments for attempt in loose) < len(loose):
                raise StorageFailed(f"records vanish from {self.store.locate(f'ledger/{phase}/')} while they are read")
        table = _that_count(concat(phase, [*segments.tables(needed), *found], needed))
        return table if columns is None else table.select(columns)

    def _table(self, key: str, columns: list[str] | None = None) -> pa.Table | None:
        data = self.store.get(key)
        return None if data is None else from_parquet(data, key, columns)

    def compact(self, phase: Phase) -> int:
        """Move loose records into segments; returns how many were moved. Records that cannot be read stay."""
        segments = self.segments(phase)
        moved = 0
        while True:
            segments.refresh()
            loose = self.loose(phase)
            for _ in each(self.store.delete, [key for attempt, key in loose.items() if attempt in segments]):
                pass  # copies of what is in a segment, left by a compaction that was cut off or by this one
            alone = [key for attempt, key in sorted(loose.items()) if attempt not in segments][:SEGMENT]
            tables = [table for table in each(self._sound, alone) if table is not None]
            if len(tables) < 2:
                return moved
            table = concat(phase, tables)
            if segments.append(table):
                moved += len(table)

    def _sound(self, key: str) -> pa.Table | None:
        try:
            table = self._table(key)
        except StorageFailed:
            return None
        return table if table is not None and _only(table) == _attempt(key) else None

    def tidy(self) -> int:
        """Compact the phases with many loose records; returns how many were moved."""
        return sum(self.compact(phase) for phase in PHASES if len(self.loose(phase)) >= MANY)

    def commit_predictions(self, trial_id: str, y: Any, pred: Any) -> None:
        """Keep the test predictions of an evaluate trial: labels and predictions `[N]`, in label units."""
        table = pa.table([pa.array(range(len(y)), pa.int64()), y, pred], schema=PREDICTIONS)
        self.store.put(f"ledger/predictions/{trial_id}.parquet", to_parquet(table))

    def predictions(self, trial_id: str) -> pa.Table:
        """Test predictions of an evaluate trial (schema `PREDICTIONS`); raises StorageFailed when there are none."""
        key = f"ledger/predictions/{trial_id}.parquet"
        return from_parquet(self.store.get(key) or b"", key)


def record_key(phase: Phase, attempt: Attempt) -> str:
    """Where a loose record lies."""
    return f"ledger/{phase}/{attempt[0]}.{attempt[1]}.parquet"


def _attempt(key: str) -> Attempt:
    trial_id, _, number = key.rsplit("/", 1)[1].removesuffix(".parquet").rpartition(".")
    return trial_id, int(number)


def _only(table: pa.Table) -> Attempt | None:
    """The attempt whose record a table of one row is."""
    ids = zip(table["trial_id"].to_pylist(), table["attempt"].to_pylist(), strict=True)
    return next(ids) if len(table) == 1 else None


def _of(phase: Phase, columns: list[str] | None) -> list[str] | None:
    return None if columns is None else [name for name in columns if name in SCHEMAS[phase].names]


def _that_count(table: pa.Table) -> pa.Table:
    """One row per trial, by trial id: the first attempt that did not fail, else the last."""
    chosen: dict[str, tuple[bool, int, int]] = {}
    columns = (table[name].to_pylist() for name in ("trial_id", "attempt", "status"))
    for row, (trial_id, attempt, status) in enumerate(zip(*columns, strict=True)):
        failed = status == "failed"
        rank = (failed, -attempt if failed else attempt, row)
        if trial_id not in chosen or rank < chosen[trial_id]:
            chosen[trial_id] = rank
    return table.take(pa.array([chosen[trial_id][2] for trial_id in sorted(chosen)], pa.int64()))
