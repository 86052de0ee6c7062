"""The append-only record of trials: the single source of truth.

    ledger/tune/<trial id>.<attempt>.parquet            one row each, written once
    ledger/evaluate/<trial id>.<attempt>.parquet
    ledger/compact/<phase>/<number>.parquet             segments: many of these rows, moved
    ledger/predictions/<trial id>.<name>.parquet        test predictions of evaluate trials, by the name in the record
    ledger/models/<trial id>.<name>.safetensors         weights of evaluate trials, where a study keeps them
    ledger/splits/<workload>-<data>.parquet             which rows of the file train, val and test hold
    ledger/samples/<trial id>.<attempt>.parquet         what the machine did meanwhile, where a study samples it
    ledger/damaged/...                                  what a repair set aside
    checkpoints/<trial id>.pt                           of a trial that is not committed yet

A second attempt exists only where an earlier one failed, is damaged, or was stopped early by a study that stops where
another does not; the first that is complete counts, else the last. So a damaged record costs its trial only: it stays
where it is, is told, and the trial is trained again under the number of the next attempt. A record without rows stands
for one that a repair set aside.

Compaction moves loose records into segments while others read and write. It reads the segments, lists the loose
records, creates the segment of the next number with those that are in none, reads it back, and only then deletes them.
Of two compactors one creates that number; the other looks again. One that is killed leaves a segment and copies of its
rows, which the next deletes. Who reads lists loose records before segments: what was deleted in between is in a segment
then. A record in a segment was there first, so a loose one of the same name does not count: a writer that comes after
the compaction looks at the segments when its record is written, and takes it back.

Files that are none of the ledger's are left alone everywhere, with a word.
"""

from collections.abc import Container
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from orchestrator.errors import StorageFailed
from orchestrator.ledger import predictions, splits
from orchestrator.ledger.flat import NAMES, flat
from orchestrator.ledger.names import PHASES, Attempt, attempt_of, record_key
from orchestrator.ledger.parquet import Damaged, from_parquet, reading, to_parquet
from orchestrator.ledger.records import SCHEMAS, Phase, Record
from orchestrator.ledger.schemas import attempts, conforming, of_attempt, unknown
from orchestrator.ledger.segments import Segments, concat, each
from orchestrator.ledger.telling import tell
from orchestrator.storage.store import Store, open_store
from workloads.workload import Data

if TYPE_CHECKING:
    import pandas as pd

MANY: Final = 1000
"""Loose records of a phase from which a sweep compacts them when it ends."""
SEGMENT: Final = 20_000
"""Records of a segment at most: a compaction holds them in memory."""


class Ledger:
    """Trials of one storage; any number of drivers and workers may read, commit and compact at once."""

    def __init__(self, storage: str | Store) -> None:
        self.store: Store = open_store(storage) if isinstance(storage, str) else storage
        self._segments: dict[Phase, Segments] = {}
        self._splits: dict[tuple[str, str], pa.Table | None] = {}

    def segments(self, phase: Phase) -> Segments:
        """The compacted records of a phase; read when first asked for."""
        if phase not in self._segments:
            self._segments[phase] = Segments(self.store, phase)
        return self._segments[phase]

    def commit(self, record: Record, phase: Phase) -> bool:
        """Write a record once; False when another writer was first, whose record then counts.

        Where the record that was first is damaged, this one becomes the next attempt.
        """
        segments = self.segments(phase)
        while True:
            attempt = (record.trial_id, record.attempt)
            key, table = record_key(phase, attempt), record.to_arrow(phase)
            if attempt in segments:
                return False
            if self.store.create(key, to_parquet(table)):
                break
            try:
                first = self.row(phase, attempt)
            except Damaged:
                first = {}
            if first:
                return False
            if first is None:  # compacted since, or taken back
                segments.refresh()
            else:
                record = replace(record, attempt=record.attempt + 1)
        segments.refresh()
        if attempt not in segments:
            return True
        self.store.delete(key)
        return repr(segments.row(attempt)) == repr(table.to_pylist()[0])  # this very record may have been compacted

    def find(self, trial_id: str, phase: Phase) -> Record | None:
        """The attempt at a trial that counts, or None when it was never committed, or every record of it is damaged."""
        segments = self.segments(phase)
        while True:
            last: Record | None = None
            for number in count():
                try:
                    row = self.row(phase, (trial_id, number))
                    if row is None:
                        break
                    if not row:
                        continue
                    with reading(record_key(phase, (trial_id, number))):
                        last = Record.from_row(row)
                except Damaged as err:
                    tell(f"{err}; without it, the next sweep trains {phase} trial {trial_id} again")
                    continue
                if last.status == "completed":
                    return last
            if not segments.refresh():
                return last

    def record(self, phase: Phase, attempt: Attempt) -> Record:
        """An attempt that is known to be there, with its learning curve; raises StorageFailed where it is gone."""
        row = self.row(phase, attempt)
        if row is None and self.segments(phase).refresh():  # compacted since
            row = self.row(phase, attempt)
        if not row:
            raise StorageFailed(f"a record is gone from {self.store.uri}: {record_key(phase, attempt)}")
        return Record.from_row(row)

    def row(self, phase: Phase, attempt: Attempt) -> dict[str, Any] | None:
        """One attempt as a row of its schema, from the segments known so far or from a record of its own.

        Empty for a record that a repair set aside. Raises Damaged for a loose one that cannot be read.
        """
        known = self.segments(phase).row(attempt)
        if known is not None:
            return known
        table = self._table(phase, record_key(phase, attempt))
        if table is None:
            return None
        with reading(record_key(phase, attempt)):
            rows: list[dict[str, Any]] = table.to_pylist()
        return rows[0] if rows else {}

    def loose(self, phase: Phase) -> dict[Attempt, str]:
        """Keys of the records that are objects of their own."""
        found: dict[Attempt, str] = {}
        for key in self.store.keys(f"ledger/{phase}/"):
            attempt = attempt_of(key)
            if attempt is None:
                tell(f"{self.store.locate(key)} is no record of the ledger: it is left alone")
            else:
                found[attempt] = key
        return found

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
        table = _that_count(self.since(phase, needed))
        return table if columns is None else table.select(columns)

    def since(
        self, phase: Phase, columns: list[str] | None, known: Container[Attempt] = (), segments_known: int = 0
    ) -> pa.Table:
        """Every attempt, those that do not count as well, that is in a later segment, or loose and not known."""
        loose, segments = self.loose(phase), self.segments(phase)
        segments.refresh()
        alone = [key for attempt, key in loose.items() if attempt not in segments and attempt not in known]
        found = [table for table in each(lambda key: self._readable(phase, key, columns), alone) if table is not None]
        if len(found) < len(alone):  # compacted since they were listed
            segments.refresh()
            found = [table for table in found if not len(table) or attempts(table)[0] not in segments]
            there = sum(attempt in segments or attempt in known for attempt in loose)
            if len(found) + there < len(loose):
                raise StorageFailed(f"records vanish from {self.store.locate(f'ledger/{phase}/')} while they are read")
        return concat(phase, [*segments.tables(columns, segments_known), *found], columns)

    def table(self, phase: Phase | None = None) -> pa.Table:
        """One row per trial with plain columns: every setting (`lds.sigma`), and every score (`test/mae/few`).

        Without learning curves, which `read` has.
        """
        return flat(self.read(phase, [name for name in NAMES if phase is None or name in SCHEMAS[phase].names]))

    def frame(self, phase: Phase | None = None) -> "pd.DataFrame":
        """`table` for pandas."""
        return self.table(phase).to_pandas()

    def _readable(self, phase: Phase, key: str, columns: list[str] | None) -> pa.Table | None:
        """A loose record; without rows where it is damaged, which is reported. None where there is none any more."""
        try:
            return self._table(phase, key, columns)
        except Damaged as err:
            tell(f"{err}; it is left out")
            return concat(phase, [], columns)

    def _table(self, phase: Phase, key: str, columns: list[str] | None = None) -> pa.Table | None:
        """A loose record in its schema; None where there is none, Damaged where it is not what its name says."""
        data, attempt = self.store.get(key), attempt_of(key)
        if data is None or attempt is None:
            return None
        table = conforming(from_parquet(data, key, columns), phase, key, columns)
        with reading(key):
            return of_attempt(table, attempt, key)

    def compact(self, phase: Phase) -> int:
        """Move loose records into segments; returns how many were moved.

        Records that cannot be read stay, and those of a newer version: their columns would be lost.
        """
        segments = self.segments(phase)
        moved = 0
        while True:
            segments.refresh()
            loose = self.loose(phase)
            for _ in each(self.store.delete, [key for attempt, key in loose.items() if attempt in segments]):
                pass  # copies of what is in a segment, left by a compaction that was cut off or by this one
            alone = [key for attempt, key in sorted(loose.items()) if attempt not in segments][:SEGMENT]
            tables = [table for table in each(lambda key: self._sound(phase, key), alone) if table is not None]
            if len(tables) < 2:
                return moved
            table = concat(phase, tables)
            if segments.append(table):
                moved += len(table)

    def _sound(self, phase: Phase, key: str) -> pa.Table | None:
        """A record that may be moved."""
        try:
            data = self.store.get(key)
            if data is None or unknown(whole := from_parquet(data, key), phase):
                return None
            table = of_attempt(conforming(whole, phase, key), attempt_of(key) or ("", -1), key)
            with reading(key):
                return table if table.to_pylist() else None
        except Damaged as err:
            tell(f"{err}; it stays as it is")
            return None

    def tidy(self) -> int:
        """Compact the phases with many loose records; returns how many were moved."""
        return sum(self.compact(phase) for phase in PHASES if len(self.loose(phase)) >= MANY)

    def commit_predictions(self, trial_id: str, y: Any, pred: Any, attempt: int = 0) -> str:
        """Keep the test predictions of an evaluate trial: labels and predictions `[N]`, in label units.

        Returns the name that the record must have in `predictions`: others of the same trial are not its own.
        """
        return predictions.write(self.store, trial_id, attempt, y, pred)

    def commit_validation(self, trial_id: str, name: str, y: Any, pred: Any) -> None:
        """Keep the predictions of validation rows under the name that `commit_predictions` gave."""
        predictions.write_validation(self.store, trial_id, name, y, pred)

    def validation(self, record: Record) -> pa.Table | None:
        """Predictions of validation rows of an evaluate trial; None where an earlier release kept none."""
        return predictions.find_validation(self.store, record.trial_id, record.predictions)

    def predictions(self, trial: str | Record) -> pa.Table:
        """Test predictions of an evaluate trial: those of this record, or of the one that counts.

        Columns: those of `PREDICTIONS`, then where the row stands in the file: `file_row` from 0, `name`, and `pixel`
        of a label map. Ledgers of earlier releases lack the latter. Raises StorageFailed when there are no predictions,
        or others.
        """
        record = self.find(trial, "evaluate") if isinstance(trial, str) else trial
        trial_id = trial if isinstance(trial, str) else trial.trial_id
        found = predictions.find(self.store, trial_id, None if record is None else record.predictions)
        return splits.with_places(found, None if record is None else self.splits(record.workload, record.data), "test")

    def commit_splits(self, workload: str, data: Data) -> None:
        """Keep which rows of its file the splits of a workload hold, once."""
        if (workload, data.fingerprint) not in self._splits:
            splits.write(self.store, workload, data)
            self._splits[workload, data.fingerprint] = splits.table_of(data)

    def splits(self, workload: str, data: str) -> pa.Table | None:
        """The rows of train, val and test of a workload (schema `SPLITS`), of data with this fingerprint.

        None in ledgers of earlier releases.
        """
        if (workload, data) not in self._splits:
            self._splits[workload, data] = splits.find(self.store, workload, data)
        return self._splits[workload, data]


def _of(phase: Phase, columns: list[str] | None) -> list[str] | None:
    return None if columns is None else [name for name in columns if name in SCHEMAS[phase].names]


def _that_count(table: pa.Table) -> pa.Table:
    """One row per trial, by trial id: the first attempt that is complete, else the last."""
    chosen: dict[str, tuple[bool, int, int]] = {}
    columns = (table[name].to_pylist() for name in ("trial_id", "attempt", "status"))
    for row, (trial_id, attempt, status) in enumerate(zip(*columns, strict=True)):
        ended_early = status != "completed"
        rank = (ended_early, -attempt if ended_early else attempt, row)
        if trial_id not in chosen or rank < chosen[trial_id]:
            chosen[trial_id] = rank
    return table.take(pa.array([chosen[trial_id][2] for trial_id in sorted(chosen)], pa.int64()))
