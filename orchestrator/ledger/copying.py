"""Bringing what one ledger holds into another one."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import pyarrow as pa

from orchestrator.errors import BadInput, StorageFailed
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.names import (
    OF_MODELS,
    OF_PREDICTIONS,
    OF_SAMPLES,
    OF_SPLITS,
    OF_VALIDATION,
    PHASES,
    foreign,
    modelled_by,
    predicted_by,
    record_key,
    sampled_by,
    split_of,
    validated_by,
)
from orchestrator.ledger.parquet import from_parquet, to_parquet
from orchestrator.ledger.records import Phase
from orchestrator.ledger.schemas import attempts, few
from orchestrator.ledger.segments import each
from orchestrator.ledger.telling import tell

Progress = Callable[[str], None]
EVERY: Final = 500


def copy(source: Ledger, target: Ledger, progress: Progress) -> int:
    """Bring what one ledger holds into another, which may hold records already; returns how many objects were written.

    May be cut off and repeated. Raises BadInput, before anything is written, when both hold different contents under
    one name, StorageFailed when a record or a segment is damaged. Foreign files stay where they are.
    """
    for key in foreign(source.store.keys("ledger/")):
        tell(f"{source.store.locate(key)} is none of the ledger's files: it is not copied")
    todo: dict[str, Callable[[], bytes]] = {}
    differing: list[str] = []
    for phase in PHASES:
        differing += _plan_records(source, target, phase, todo)
    for prefix, ours in (
        (OF_PREDICTIONS, predicted_by),
        (OF_VALIDATION, validated_by),
        (OF_MODELS, modelled_by),
        (OF_SPLITS, split_of),
        (OF_SAMPLES, sampled_by),
    ):
        there = set(target.store.keys(prefix))
        for key in filter(ours, source.store.keys(prefix)):
            if key not in there:
                todo[key] = partial(_bytes, source, key)
            elif source.store.get(key) != target.store.get(key):
                differing.append(key)
    if differing:
        raise BadInput(
            f"two storages may be joined where they agree: {source.store.uri} and {target.store.uri} differ in "
            f"{few(differing)}; copy into another storage, or remove those of one of them"
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
        held = attempts(table)
        if in_step and there.isdisjoint(held):
            todo[key] = partial(_bytes, source, key)
            continue
        in_step = False  # the target counts its segments by itself: its records come one by one
        for row, attempt in enumerate(held):
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
