"""Test predictions of an evaluate trial: which are a record's own.

They lie under `<trial id>.<attempt>.<digest of the values>.parquet`, written once, and the record names them. So those
of a worker that trained the same attempt and was late lie beside them, and never replace them. Older records name
none: theirs lie under `<trial id>.parquet`.
"""

import hashlib
from typing import Any, Final

import numpy as np
import pyarrow as pa

from orchestrator.errors import StorageFailed
from orchestrator.ledger.names import OF_PREDICTIONS, predicted_by, predictions_key, validation_key
from orchestrator.ledger.parquet import RESTORE, Damaged, from_parquet, reading, to_parquet
from orchestrator.ledger.records import PREDICTIONS, SINGLE
from orchestrator.ledger.telling import tell
from orchestrator.storage.store import Store
from workloads.metrics import METRICS, shot_metrics

DIGITS: Final = 16
TOLERANCE: Final = 1e-4
"""Relative; a score was computed from the same numbers."""
NOT_COMPARED: Final = frozenset({"gm"})
"""The logarithm of an error that rounds to zero is anything."""


def write(store: Store, trial_id: str, attempt: int, y: Any, pred: Any) -> str:
    """Keep labels and predictions `[N]`, in label units; returns the name by which the record calls them."""
    table = pa.table([pa.array(range(len(y)), pa.int64()), y, pred], schema=PREDICTIONS)
    older = predictions_key(trial_id, None)
    try:
        if (data := store.get(older)) is not None:
            kept = read(data, older)
            if kept.equals(table.cast(kept.schema)):
                return f"{attempt}.{digest_of(kept)}"  # an older version kept the very same ones
    except Damaged:
        pass
    name = f"{attempt}.{digest_of(table)}"
    key, data = predictions_key(trial_id, name), to_parquet(table)
    if not store.create(key, data):
        try:
            read(store.get(key) or b"", key)
        except Damaged:
            store.put(key, data)  # the name says what was there
    return name


def write_validation(store: Store, trial_id: str, name: str, y: Any, pred: Any) -> None:
    """Keep labels and predictions `[N]` of validation rows under the name of the trial's test predictions."""
    table = pa.table([pa.array(range(len(y)), pa.int64()), y, pred], schema=PREDICTIONS)
    store.put(validation_key(trial_id, name), to_parquet(table))


def find_validation(store: Store, trial_id: str, name: str | None) -> pa.Table | None:
    """Those of `write_validation`; None for a trial of an earlier release, which kept none, and where they are damaged.

    They serve recalibration in the report alone, which can do without them.
    """
    if name is None or (data := store.get(key := validation_key(trial_id, name))) is None:
        return None
    try:
        return read(data, key)
    except Damaged as err:
        tell(str(err))
        return None


def find(store: Store, trial_id: str, name: str | None) -> pa.Table:
    """The predictions that a record calls `name` (schema `PREDICTIONS`); raises StorageFailed when there are none."""
    for key in dict.fromkeys((predictions_key(trial_id, name), predictions_key(trial_id, None))):
        if (data := store.get(key)) is not None:
            return of_record(read(data, key), key, name)
    if name is None:
        written = [key for key in store.keys(OF_PREDICTIONS) if (predicted_by(key) or ("",))[0] == trial_id]
        if len(written) == 1:
            return read(store.get(written[0]) or b"", written[0])
    raise StorageFailed(f"{store.locate(predictions_key(trial_id, name))} is missing; {RESTORE}")


def of_record(table: pa.Table, key: str, name: str | None) -> pa.Table:
    """A table of predictions that are those of a record; raises Damaged for others."""
    if name is not None and digest_of(table) != name.rpartition(".")[2]:
        raise Damaged(f"{key} does not hold the predictions that its record names; {RESTORE}")
    return table


def read(data: bytes, key: str) -> pa.Table:
    """A file of predictions, of whatever trial; raises Damaged."""
    table = from_parquet(data, key)
    if not any(table.schema.equals(known) for known in (PREDICTIONS, SINGLE)):
        raise Damaged(f"{key} is not in the schema of predictions; {RESTORE}")
    return table


def digest_of(table: pa.Table) -> str:
    """A digest of the values, whatever file they are in."""
    digest = hashlib.sha256()
    with reading("a table of predictions"):
        for name in PREDICTIONS.names:
            digest.update(np.ascontiguousarray(table[name].to_numpy()).tobytes())
    return digest.hexdigest()[:DIGITS]


def disagreement(table: pa.Table, test: list[dict[str, Any]]) -> str | None:
    """How the scores of a record differ from those of its predictions, over all test rows; None where they agree."""
    kept = {row["metric"]: row["value"] for row in test if row["region"] == "all" and row["value"] is not None}
    names = [name for name in kept if name in METRICS and name not in NOT_COMPARED]
    y, pred = table["y"].to_numpy(), table["pred"].to_numpy()
    rounding = 8 * float(np.finfo(np.float32).eps) * float(np.abs(y).max(initial=0.0))
    made = shot_metrics(pred, y, np.zeros(len(y), np.int64), names)["all"]
    for name in names:
        value = made[name].value
        if value is None or not np.isclose(value, kept[name], rtol=TOLERANCE, atol=rounding):
            return f"its record says test/{name}/all = {kept[name]:.6g}, its predictions give {value}"
    return None
