"""The append-only record of trials: the single source of truth.

    ledger/tune/<trial id>.<attempt>.parquet            one row each, written once
    ledger/evaluate/<trial id>.<attempt>.parquet
    ledger/predictions/<trial id>.parquet               test predictions of evaluate trials
    checkpoints/<trial id>.pt                           of a trial that is not committed yet

A second attempt exists only where an earlier one failed; the last one counts.
"""

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.errors import StorageFailed
from orchestrator.records import PREDICTIONS, SCHEMAS, Phase, Record
from orchestrator.store import Store, open_store

READERS = 8


class Ledger:
    """Trials of one storage; any number of drivers and workers may read and commit at once."""

    def __init__(self, storage: str | Store) -> None:
        self.store: Store = open_store(storage) if isinstance(storage, str) else storage

    def commit(self, record: Record, phase: Phase) -> bool:
        """Write a record once; False when another writer was first, whose record then counts."""
        key = f"ledger/{phase}/{record.trial_id}.{record.attempt}.parquet"
        return self.store.create(key, _to_parquet(record.to_arrow(phase)))

    def find(self, trial_id: str, phase: Phase) -> Record | None:
        """The last attempt at a trial, or None when it was never committed."""
        last: bytes | None = None
        attempt = 0
        while (data := self.store.get(f"ledger/{phase}/{trial_id}.{attempt}.parquet")) is not None:
            last, attempt = data, attempt + 1
        if last is None:
            return None
        (row,) = _from_parquet(last, f"{phase} record of trial {trial_id}").to_pylist()
        return Record.from_row(row)

    def read(self, phase: Phase | None = None) -> pa.Table:
        """All records of a phase as one Arrow table (schema `SCHEMAS[phase]`), last attempts only, by trial id.

        Without a phase, those of both with a first column `phase`; `test` is null for tuning trials.
        """
        if phase is None:
            phases: tuple[Phase, ...] = ("tune", "evaluate")
            tables = [(name, self.read(name)) for name in phases]
            named = [table.add_column(0, "phase", pa.repeat(pa.scalar(name), len(table))) for name, table in tables]
            return pa.concat_tables(named, promote_options="default")
        last: dict[str, str] = {}
        for key in self.store.keys(f"ledger/{phase}/"):
            trial_id, _, attempt = key.rsplit("/", 1)[1].removesuffix(".parquet").partition(".")
            if trial_id not in last or int(attempt) > int(last[trial_id].split(".")[-2]):
                last[trial_id] = key
        return pa.concat_tables([SCHEMAS[phase].empty_table(), *self._load(last.values())])

    def _load(self, keys: Iterable[str]) -> Iterable[pa.Table]:
        def load(key: str) -> pa.Table:
            return _from_parquet(self.store.get(key) or b"", key)

        with ThreadPoolExecutor(READERS) as pool:
            yield from pool.map(load, keys)

    def commit_predictions(self, trial_id: str, y: Any, pred: Any) -> None:
        """Keep the test predictions of an evaluate trial: labels and predictions `[N]`, in label units."""
        table = pa.table([pa.array(range(len(y)), pa.int64()), y, pred], schema=PREDICTIONS)
        self.store.put(f"ledger/predictions/{trial_id}.parquet", _to_parquet(table))

    def predictions(self, trial_id: str) -> pa.Table:
        """Test predictions of an evaluate trial (schema `PREDICTIONS`); raises StorageFailed when there are none."""
        key = f"ledger/predictions/{trial_id}.parquet"
        return _from_parquet(self.store.get(key) or b"", key)


def _to_parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _from_parquet(data: bytes, name: str) -> pa.Table:
    try:
        return pq.read_table(io.BytesIO(data))
    except pa.ArrowInvalid as err:
        raise StorageFailed(f"{name} in the ledger cannot be read: {err}; remove it to train the trial again") from err
