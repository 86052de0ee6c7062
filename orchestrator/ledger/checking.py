"""Reading everything that a storage holds, and naming what is damaged."""

from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import pyarrow as pa

from orchestrator.ledger import models, predictions, splits
from orchestrator.ledger.checkpoints import FOLDER, is_checkpoint, unpacked
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.names import (
    OF_DAMAGED,
    OF_PREDICTIONS,
    OF_SPLITS,
    OF_VALIDATION,
    PHASES,
    Attempt,
    attempt_of,
    foreign,
    predicted_by,
    predictions_key,
    segment_number,
    segments_in,
    split_of,
    validated_by,
)
from orchestrator.ledger.parquet import Damaged, from_parquet, reading
from orchestrator.ledger.records import Phase
from orchestrator.ledger.schemas import conforming, of_attempt, unknown
from orchestrator.ledger.segments import concat, damage, each
from orchestrator.storage.envelope import NotWhole
from workloads.cache import default_folder
from workloads.cache_checks import damage_of

NEEDED: Final = ("trial_id", "attempt", "status", "predictions", "test")


@dataclass
class Findings:
    """What a check of a ledger found: damage loses results; notes say what was met and does no harm."""

    records: int = 0
    predictions: int = 0
    damage: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(ledger: Ledger) -> Findings:
    """Read everything: checksums, names, schemas, attempts, duplicates, and whether predictions are their records'.

    Checkpoints of the storage are read as well, and the decoded data in the cache of this machine.
    """
    found = Findings()
    keys = ledger.store.keys("ledger/")
    found.notes += [f"{key} is none of the ledger's files: it is left alone" for key in foreign(keys)]
    if aside := [key for key in keys if key.startswith(OF_DAMAGED)]:
        found.notes.append(f"{OF_DAMAGED} holds {len(aside)} files that a repair set aside")
    for phase in PHASES:
        _verify_phase(ledger, phase, found)
    found.damage += [problem for _, problem in models.damaged(ledger.store)]
    _verify_splits(ledger, found)
    _verify_checkpoints(ledger, found)
    _verify_cache(found)
    return found


def _verify_phase(ledger: Ledger, phase: Phase, found: Findings) -> None:
    rows: dict[Attempt, dict[str, Any]] = {}
    place: dict[Attempt, tuple[str, int]] = {}
    numbers = count()
    for key in ledger.store.keys(segments_in(phase)):
        number = segment_number(key)
        if number is None:
            continue
        if number != next(numbers):
            found.notes.append(f"{segments_in(phase)} lacks a segment before {key}: it was removed by hand")
            numbers = count(number + 1)
        for position, row in enumerate(_segment(ledger, phase, key, found)):
            attempt = (row["trial_id"], row["attempt"])
            if attempt in place:
                found.damage.append(f"{_name(phase, attempt)} is in {place[attempt][0]} and in {key}")
            place.setdefault(attempt, (key, position))
            rows.setdefault(attempt, row)
    compacted = set(rows)
    taken = set(rows)
    keys = ledger.store.keys(f"ledger/{phase}/")
    loose = {key: found_in for key in keys if (found_in := attempt_of(key)) is not None}
    for (key, attempt), table in zip(
        loose.items(), each(lambda key: _record(ledger, phase, key, found), loose), strict=True
    ):
        taken.add(attempt)
        if table is None:
            continue
        if not len(table):
            found.notes.append(f"{key} stands for a record that a repair set aside; the trial is trained again")
        elif attempt in compacted:
            found.notes.append(_duplicate(ledger, key, table, *place[attempt]))
        else:
            rows[attempt] = _needed(table, key)[0]
    found.records += len(rows)
    for trial_id, number in sorted(taken):
        if number and (trial_id, number - 1) not in taken:
            found.damage.append(f"{_name(phase, (trial_id, number))} has no attempt {number - 1} before it")
    if phase == "evaluate":
        _verify_predictions(ledger, rows, found)


def _segment(ledger: Ledger, phase: Phase, key: str, found: Findings) -> list[dict[str, Any]]:
    """The rows of a segment, as far as a check needs them; none, and damage, when it cannot be read."""
    data = ledger.store.get(key) or b""
    try:
        whole = from_parquet(data, key)
        _note_newer(whole, phase, key, found)
        table = conforming(whole, phase, key)
        with reading(key):
            table.to_pylist()
        return _needed(table, key)
    except Damaged as err:
        found.damage.append(damage(key, data, str(err)))
        return []


def _record(ledger: Ledger, phase: Phase, key: str, found: Findings) -> pa.Table | None:
    """A loose record; None, and damage, when it cannot be read or is another one."""
    try:
        whole = from_parquet(ledger.store.get(key) or b"", key)
        _note_newer(whole, phase, key, found)
        with reading(key):
            table = of_attempt(conforming(whole, phase, key), attempt_of(key) or ("", -1), key)
            table.to_pylist()
        return table
    except Damaged as err:
        found.damage.append(str(err))
        return None


def _needed(table: pa.Table, key: str) -> list[dict[str, Any]]:
    with reading(key):
        rows: list[dict[str, Any]] = table.select([name for name in NEEDED if name in table.column_names]).to_pylist()
    return rows


def _note_newer(table: pa.Table, phase: Phase, key: str, found: Findings) -> None:
    if more := unknown(table, phase):
        found.notes.append(f"{key} has columns of a newer version: {', '.join(more)}")


def _verify_predictions(ledger: Ledger, rows: dict[Attempt, dict[str, Any]], found: Findings) -> None:
    """Every completed evaluate record has predictions, its own, that give its scores; others belong to nobody."""
    there = {key: of for key in ledger.store.keys(OF_PREDICTIONS) if (of := predicted_by(key)) is not None}
    of_trial: dict[str, list[str]] = {}
    for key, (trial_id, _) in there.items():
        of_trial.setdefault(trial_id, []).append(key)
    owners: dict[str, list[dict[str, Any]]] = {}
    for _, row in sorted(rows.items()):
        if row["status"] == "completed":
            own = _key_of(row, of_trial.get(row["trial_id"], []))
            if own is None:
                found.damage.append(f"{predictions_key(row['trial_id'], row.get('predictions'))} is missing")
            else:
                owners.setdefault(own, []).append(row)

    def check(key: str) -> list[str]:
        try:
            table = predictions.read(ledger.store.get(key) or b"", key)
            for row in owners.get(key, ()):
                predictions.of_record(table, key, row.get("predictions"))
                if differs := predictions.disagreement(table, row["test"] or []):
                    return [f"{key} does not fit attempt {row['attempt']}: {differs}"]
        except Damaged as err:
            return [str(err)]
        return []

    for key in filter(validated_by, ledger.store.keys(OF_VALIDATION)):
        found.damage += check(key)
    for key, problems in zip(there, each(check, there), strict=True):
        found.damage += problems
        found.predictions += not problems
        if key not in owners:
            found.notes.append(f"{key} belongs to no record that counts: a worker that was late, or a lost record")


def _key_of(row: dict[str, Any], keys: list[str]) -> str | None:
    """Where the predictions of a record lie, among those of its trial."""
    name = row.get("predictions")
    for key in (predictions_key(row["trial_id"], name), predictions_key(row["trial_id"], None)):
        if key in keys:
            return key
    return keys[0] if name is None and len(keys) == 1 else None


def _duplicate(ledger: Ledger, key: str, table: pa.Table, segment: str, position: int) -> str:
    """A loose record whose attempt is in a segment: the latter counts."""
    phase: Phase = "tune" if key.startswith("ledger/tune/") else "evaluate"
    there = from_parquet(ledger.store.get(segment) or b"", segment).slice(position, 1)
    if repr(concat(phase, [there]).to_pylist()) == repr(concat(phase, [table]).to_pylist()):
        return f"{key} is in {segment} too; the next compaction removes it"
    return f"{key} differs from the record in {segment}, which was first and counts; the next compaction removes it"


def _name(phase: Phase, attempt: Attempt) -> str:
    return f"attempt {attempt[1]} at {phase} trial {attempt[0]}"


def _verify_splits(ledger: Ledger, found: Findings) -> None:
    """A damaged one costs no result: predictions are told by rows of the split then, not of the file."""
    for key in filter(split_of, ledger.store.keys(OF_SPLITS)):
        try:
            splits.read(ledger.store.get(key) or b"", key)
        except Damaged as err:
            found.damage.append(str(err))


def _verify_checkpoints(ledger: Ledger, found: Findings) -> None:
    """A damaged one costs time only: its trial starts anew."""
    for key in ledger.store.keys(FOLDER):
        if not is_checkpoint(key):
            found.notes.append(f"{key} is no checkpoint: it is left alone")
            continue
        try:
            unpacked(key, ledger.store.get(key) or b"")
        except NotWhole as err:
            found.damage.append(f"{err}; its trial starts anew, and you may delete it")


def _verify_cache(found: Findings) -> None:
    """Decoded data of this machine, which may be deleted at any time."""
    for path in sorted(default_folder().glob("*.arrow")):
        if why := damage_of(path):
            found.damage.append(f"{path} in the cache is damaged: {why}; delete it, and it is made again")
