"""Looking after a ledger: copy it to another storage, and check that it is whole."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import pyarrow as pa

from orchestrator.errors import BadInput, StorageFailed
from orchestrator.ledger.ledger import PHASES, Ledger, record_key
from orchestrator.ledger.records import PREDICTIONS, SCHEMAS, Phase
from orchestrator.ledger.segments import Attempt, each, from_parquet, to_parquet

Progress = Callable[[str], None]
EVERY: Final = 500
SHOWN: Final = 5
OF_PREDICTIONS: Final = "ledger/predictions/"


def copy(source: Ledger, target: Ledger, progress: Progress) -> int:
    """Bring what one ledger holds into another, which may hold records already; returns how many objects were written.

    May be cut off and repeated. Raises BadInput, before anything is written, when both hold different contents under
    one name.
    """
    todo: dict[str, Callable[[], bytes]] = {}
    differing: list[str] = []
    for phase in PHASES:
        differing += _plan_records(source, target, phase, todo)
    there = set(target.store.keys(OF_PREDICTIONS))
    for key in source.store.keys(OF_PREDICTIONS):
        if key not in there:
            todo[key] = partial(_bytes, source, key)
        elif source.store.get(key) != target.store.get(key):
            differing.append(key)
    if differing:
        raise BadInput(
            f"two storages may be joined where they agree: {source.store.uri} and {target.store.uri} differ in "
            f"{_few(differing)}; copy into another storage, or remove those of one of them"
        )

    def write(key: str) -> bool:
        data = todo[key]()
        if not target.store.create(key, data) and target.store.get(key) != data:
            raise StorageFailed(f"{target.store.locate(key)} was written by somebody else during the copy; copy again")
        return True

    for number, _ in enumerate(each(write, todo), 1):
        if number % EVERY == 0:
            progress(f"{number} of {len(todo)} objects copied")
    return len(todo)


def _plan_records(source: Ledger, target: Ledger, phase: Phase, todo: dict[str, Callable[[], bytes]]) -> Iterator[str]:
    """Fill `todo` with what the target misses, by key; yields names of attempts at which the two differ."""
    ours, theirs = source.segments(phase), target.segments(phase)
    loose, loose_there = source.loose(phase), target.loose(phase)
    there = {*theirs.attempts, *loose_there}
    in_step = theirs.keys == ours.keys[: len(theirs.keys)]
    for position, key in enumerate(ours.keys):
        data = source.store.get(key) or b""
        if in_step and position < len(theirs.keys):
            in_step = target.store.get(key) == data
            if in_step:
                continue
        table = from_parquet(data, key)
        attempts = _attempts(table)
        if in_step and there.isdisjoint(attempts):
            todo[key] = partial(_bytes, source, key)
            continue
        in_step = False  # the target counts its segments by itself: its records come one by one
        for row, attempt in enumerate(attempts):
            if attempt not in there:
                todo[record_key(phase, attempt)] = partial(_one, table, row)
            elif repr(ours.row(attempt)) != repr(target.row(phase, attempt)):
                yield record_key(phase, attempt)
    for attempt, key in loose.items():
        if attempt in ours:
            continue
        if attempt not in there:
            todo[key] = partial(_bytes, source, key)
        elif repr(source.row(phase, attempt)) != repr(target.row(phase, attempt)):
            yield key


def _bytes(source: Ledger, key: str) -> bytes:
    data = source.store.get(key)
    if data is None:
        raise StorageFailed(f"{source.store.locate(key)} vanished during the copy; copy again")
    return data


def _one(table: pa.Table, row: int) -> bytes:
    return to_parquet(table.slice(row, 1))


@dataclass
class Findings:
    """What a check of a ledger found: damage loses results; notes say what was met and does no harm."""

    records: int = 0
    predictions: int = 0
    damage: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(ledger: Ledger) -> Findings:
    """Read everything: names, schemas, attempts, duplicates, and predictions of the evaluate trials."""
    found = Findings()
    predicted = _verify_predictions(ledger, found)
    for phase in PHASES:
        states: dict[Attempt, str] = {}
        rows: dict[Attempt, tuple[str, int]] = {}
        for key in ledger.store.keys(f"ledger/compact/{phase}/"):
            table = _readable(ledger, key, SCHEMAS[phase], found)
            for row, attempt in enumerate(_attempts(table)):
                if attempt in rows:
                    found.damage.append(f"{_name(phase, attempt)} is in {rows[attempt][0]} and in {key}")
                rows.setdefault(attempt, (key, row))
            states.update(_states(table))
        for key in ledger.store.keys(f"ledger/{phase}/"):
            table = _readable(ledger, key, SCHEMAS[phase], found)
            if not len(table):
                continue
            (attempt, *others) = _attempts(table)
            if others or key != record_key(phase, attempt):
                found.damage.append(f"{key} holds {_name(phase, attempt)}{' and others' if others else ''}")
            elif attempt in rows:
                found.notes.append(_duplicate(ledger, key, table, *rows[attempt]))
            states = {**_states(table), **states}
        found.records += len(states)
        found.damage += _gaps(phase, states)
        if phase == "evaluate":
            completed = {trial_id for (trial_id, _), status in states.items() if status == "completed"}
            found.damage += [f"{OF_PREDICTIONS}{t}.parquet is missing" for t in sorted(completed - predicted)]
    return found


def _verify_predictions(ledger: Ledger, found: Findings) -> set[str]:
    keys = ledger.store.keys(OF_PREDICTIONS)
    tables = each(lambda key: _readable(ledger, key, PREDICTIONS, found), keys)
    found.predictions = sum(len(table) > 0 for table in tables)
    return {key.removeprefix(OF_PREDICTIONS).removesuffix(".parquet") for key in keys}


def _readable(ledger: Ledger, key: str, schema: pa.Schema, found: Findings) -> pa.Table:
    """A table in its schema; empty, and noted as damage, when it cannot be read so."""
    try:
        table = from_parquet(ledger.store.get(key) or b"", key)
    except StorageFailed as err:
        found.damage.append(str(err))
        return schema.empty_table()
    if table.schema.equals(schema):
        return table
    known, has = ({field.name: field.type for field in fields} for fields in (schema, table.schema))
    differs = [name for name in {**known, **has} if known.get(name) != has.get(name)]
    found.damage.append(f"{key} is not in the ledger's schema: it differs in {_few(differs)}")
    return schema.empty_table()


def _duplicate(ledger: Ledger, key: str, table: pa.Table, segment: str, row: int) -> str:
    """A loose record whose attempt is in a segment: the latter counts."""
    there = from_parquet(ledger.store.get(segment) or b"", segment).slice(row, 1)
    if repr(there.to_pylist()) == repr(table.to_pylist()):
        return f"{key} is in {segment} too; the next compaction removes it"
    return f"{key} differs from the record in {segment}, which was first and counts; the next compaction removes it"


def _gaps(phase: Phase, states: dict[Attempt, str]) -> Iterator[str]:
    """Attempts without an earlier one are never found."""
    for trial_id, number in sorted(states):
        if number and (trial_id, number - 1) not in states:
            yield f"{_name(phase, (trial_id, number))} has no attempt {number - 1} before it"


def _attempts(table: pa.Table) -> list[Attempt]:
    return list(zip(table["trial_id"].to_pylist(), table["attempt"].to_pylist(), strict=True))


def _states(table: pa.Table) -> dict[Attempt, Any]:
    return dict(zip(_attempts(table), table["status"].to_pylist(), strict=True))


def _name(phase: Phase, attempt: Attempt) -> str:
    return f"attempt {attempt[1]} at {phase} trial {attempt[0]}"


def _few(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
