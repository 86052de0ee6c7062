"""Going on after damage: what can be read is kept, what cannot is set aside, and the next sweep trains it again.

Nothing is deleted: damaged files are below `ledger/damaged/` afterwards. No sweep should write to the storage
meanwhile; one that does is told that segments have changed, and goes on when it is started again.
"""

from collections.abc import Callable
from itertools import count

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.ledger import models, predictions, splits
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.names import (
    OF_DAMAGED,
    OF_PREDICTIONS,
    OF_SPLITS,
    PHASES,
    Attempt,
    predicted_by,
    predictions_key,
    record_key,
    segment_number,
    segments_in,
    split_of,
)
from orchestrator.ledger.parquet import Damaged, from_parquet, salvage, to_parquet
from orchestrator.ledger.records import SCHEMAS, Phase
from orchestrator.ledger.schemas import attempts, conforming
from orchestrator.ledger.segments import ROWS, each
from orchestrator.storage.store import Store

Progress = Callable[[str], None]


def repair(store: Store, progress: Progress) -> int:
    """Repair the ledger of a storage; returns how many files were set aside, and says for each what was done."""
    done = 0
    for phase in PHASES:
        done += sum(_segment(store, phase, key, progress) for key in store.keys(segments_in(phase)))
    ledger = Ledger(store)
    for phase in PHASES:
        done += sum(_record(ledger, phase, *item, progress) for item in ledger.loose(phase).items())
    done += _predictions(ledger, progress) + _splits(store, progress) + _models(store, progress)
    for phase in PHASES:
        _close_gaps(Ledger(store), phase)
    return done


def _set_aside(store: Store, key: str, data: bytes) -> str:
    """Keep the bytes of a file below `ledger/damaged/`; returns where."""
    name = OF_DAMAGED + key.removeprefix("ledger/")
    for number in count():
        aside = f"{name}.{number}" if number else name
        if store.create(aside, data) or store.get(aside) == data:
            return aside
    raise AssertionError


def _segment(store: Store, phase: Phase, key: str, progress: Progress) -> bool:
    """Write a damaged segment again, with the records that are as they were written."""
    data = store.get(key) or b""
    if segment_number(key) is None:
        return False
    try:
        conforming(from_parquet(data, key), phase, key).to_pylist()
        return False
    except Exception:  # whatever conversion raises over a file without checksums
        left = salvage(data)
    table = SCHEMAS[phase].empty_table()
    if left.table is not None:
        table = conforming(left.table, phase, key)
    aside = _set_aside(store, key, data)
    store.put(key, to_parquet(table, ROWS))
    of = "" if left.rows is None else f" of {left.rows}"
    progress(f"{key}: {len(table)}{of} records kept, the next sweep trains the others again; the file is {aside} now")
    return True


def _record(ledger: Ledger, phase: Phase, attempt: Attempt, key: str, progress: Progress) -> bool:
    """Set a damaged loose record aside."""
    if attempt in ledger.segments(phase):
        return False
    try:
        ledger.row(phase, attempt)
        return False
    except Damaged:
        aside = _set_aside(ledger.store, key, ledger.store.get(key) or b"")
    ledger.store.put(key, _nothing(phase))
    progress(f"{key}: the next sweep trains the trial again; the file is {aside} now")
    return True


def _nothing(phase: Phase) -> bytes:
    """A record without rows: the attempt was there, so that later ones are found."""
    return to_parquet(SCHEMAS[phase].empty_table())


def _predictions(ledger: Ledger, progress: Progress) -> int:
    """Set predictions aside that are damaged or not those of their record, and with them the record."""
    table = ledger.read("evaluate", ["trial_id", "attempt", "status", "predictions", "test"])
    records = {row["trial_id"]: row for row in table.to_pylist() if row["status"] == "completed"}
    bad: dict[str, str] = {}

    def check(trial_id: str) -> str | None:
        row = records[trial_id]
        try:
            found = predictions.find(ledger.store, trial_id, row["predictions"])
        except Exception as err:  # missing, damaged, or those of another record
            return str(err).partition(";")[0]
        return predictions.disagreement(found, row["test"] or [])

    for trial_id, why in zip(records, each(check, records), strict=True):
        if why is not None:
            bad[trial_id] = why
    done = 0
    for key in ledger.store.keys(OF_PREDICTIONS):
        of = predicted_by(key)
        data = ledger.store.get(key) or b""
        if of is None or (of[0] not in bad and _sound(data, key)):
            continue
        aside = _set_aside(ledger.store, key, data)
        ledger.store.delete(key)
        progress(f"{key}: the file is {aside} now")
        done += 1
    for trial_id, why in bad.items():
        _forget(ledger, (trial_id, records[trial_id]["attempt"]))
        name = predictions_key(trial_id, records[trial_id]["predictions"])
        progress(
            f"evaluate trial {trial_id}: the next sweep trains it again, for its predictions are lost ({name}: {why})"
        )
        done += 1
    return done


def _splits(store: Store, progress: Progress) -> int:
    """Set damaged tables of splits aside: the next trial that is evaluated writes them again."""
    done = 0
    for key in filter(split_of, store.keys(OF_SPLITS)):
        data = store.get(key) or b""
        try:
            splits.read(data, key)
        except Damaged:
            aside = _set_aside(store, key, data)
            store.delete(key)
            progress(f"{key}: the next trial that is evaluated writes it again; the file is {aside} now")
            done += 1
    return done


def _models(store: Store, progress: Progress) -> int:
    """Set damaged tensors aside: a model can be fitted again."""
    bad = [key for key, _ in models.damaged(store)]
    for key in bad:
        aside = _set_aside(store, key, store.get(key) or b"")
        store.delete(key)
        progress(f"{key}: `tailsweep fit` makes it again; the file is {aside} now")
    return len(bad)


def _sound(data: bytes, key: str) -> bool:
    try:
        predictions.read(data, key)
    except Damaged:
        return False
    return True


def _forget(ledger: Ledger, attempt: Attempt) -> None:
    """Set a record aside that can be read, but has lost its predictions."""
    key = record_key("evaluate", attempt)
    if attempt not in ledger.segments("evaluate"):
        _set_aside(ledger.store, key, ledger.store.get(key) or b"")
        ledger.store.put(key, _nothing("evaluate"))
        return
    for segment in ledger.segments("evaluate").keys:
        table = from_parquet(ledger.store.get(segment) or b"", segment)
        held = attempts(table)
        if attempt in held:
            _set_aside(ledger.store, key, to_parquet(table.slice(held.index(attempt), 1)))
            others = pc.invert(pa.array([one == attempt for one in held]))
            ledger.store.put(segment, to_parquet(table.filter(others), ROWS))


def _close_gaps(ledger: Ledger, phase: Phase) -> None:
    """Put a record without rows where an attempt is missing before others: those after it would never be found."""
    taken = {*ledger.segments(phase).attempts, *ledger.loose(phase)}
    for trial_id, last in sorted(taken):
        for number in range(last):
            if (trial_id, number) not in taken:
                ledger.store.create(record_key(phase, (trial_id, number)), _nothing(phase))
