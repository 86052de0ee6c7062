"""Whether a table that was read is in the ledger's schema: older ones have fewer columns, newer ones have more."""

from collections.abc import Iterable
from typing import Final

import pyarrow as pa

from orchestrator.ledger.names import Attempt
from orchestrator.ledger.parquet import RESTORE, Damaged
from orchestrator.ledger.records import LATER, SCHEMAS, Phase
from orchestrator.ledger.telling import tell

SHOWN: Final = 5


def unknown(table: pa.Table, phase: Phase) -> list[str]:
    """Columns that this version does not know."""
    return [name for name in table.column_names if name not in SCHEMAS[phase].names]


def conforming(table: pa.Table, phase: Phase, name: str, columns: list[str] | None = None) -> pa.Table:
    """The known columns of a table; columns of a newer version are left out with a word.

    Raises Damaged when a column is missing, or is of another type, or twice there.
    """
    schema = SCHEMAS[phase]
    wanted = [column for column in (schema.names if columns is None else columns) if column in schema.names]
    places = {column: table.schema.get_all_field_indices(column) for column in wanted}
    differs = [
        column
        for column, found in places.items()
        if (not found and column not in LATER)
        or len(found) > 1
        or (found and table.schema.field(found[0]).type != schema.field(column).type)
    ]
    if differs:
        raise Damaged(f"{name} is not in the ledger's schema: it differs in {few(differs)}; {RESTORE}")
    if more := unknown(table, phase):
        tell(f"{name} has columns of a newer version, which are left alone: {few(more)}")
    return table.select([column for column in wanted if places[column]])


def of_attempt(table: pa.Table, attempt: Attempt, name: str) -> pa.Table:
    """A table that holds one record, that of its name, or none, where a repair set it aside; raises Damaged."""
    found = attempts(table)
    if found and found != [attempt]:
        others = f" and {len(found) - 1} others" if len(found) > 1 else ""
        holds = f"attempt {found[0][1]} at trial {found[0][0]}{others}"
        raise Damaged(f"{name} must hold one record, its own: it holds {holds}; {RESTORE}")
    return table


def attempts(table: pa.Table) -> list[Attempt]:
    """The attempts of the rows."""
    return list(zip(table["trial_id"].to_pylist(), table["attempt"].to_pylist(), strict=True))


def few(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
