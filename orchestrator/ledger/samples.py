"""What the machine did while a trial ran, beside its record: where a study samples it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias

import pyarrow as pa

from orchestrator.ledger.names import Attempt, samples_key
from orchestrator.ledger.parquet import Damaged, from_parquet, reading, to_parquet
from orchestrator.ledger.telling import tell
from orchestrator.storage.store import Store

SAMPLES: Final = pa.schema([("at", pa.timestamp("us", tz="UTC")), ("name", pa.string()), ("value", pa.float64())])
Sample: TypeAlias = tuple[datetime, Mapping[str, float]]
"""A time, and what was seen then, by name."""


def write(store: Store, attempt: Attempt, samples: Sequence[Sample]) -> None:
    """Keep the samples of an attempt, before its record is there; those of an earlier stretch are replaced."""
    rows = [{"at": at, "name": name, "value": value} for at, seen in samples for name, value in seen.items()]
    store.put(samples_key(attempt), to_parquet(pa.Table.from_pylist(rows, schema=SAMPLES)))


def find(store: Store, attempt: Attempt) -> list[Sample]:
    """The samples of an attempt by time; none where none were taken. Damaged ones are told, and cost no result."""
    key = samples_key(attempt)
    data = store.get(key)
    if data is None:
        return []
    try:
        table = from_parquet(data, key)
        with reading(key):
            rows = table.select(SAMPLES.names).cast(SAMPLES).to_pylist()
    except Damaged as err:
        tell(f"{err}; it is left out")
        return []
    found: dict[datetime, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["at"], {})[row["name"]] = row["value"]
    return list(found.items())
