"""Records as a flat table: a column per setting and per score, for programs that know no lists within cells."""

import json
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.ledger.records import SCHEMAS

NAMES: Final = [name for name in SCHEMAS["evaluate"].names if name not in {"curve", "log", "versions"}]
"""Columns of the ledger that a flat table is made of."""
SCORES: Final = ("val", "test")


def flat(table: pa.Table) -> pa.Table:
    """Rows of `Ledger.read` with `settings`, `val` and `test` spread over columns; null where a trial has none.

    A setting that has its default is null too: records hold those that differ. One that is a number in some trials and
    a word in others becomes text.
    """
    plain = table.select([name for name in table.column_names if name not in {"settings", *SCORES}])
    for name, values in _settings(table["settings"]).items():
        plain = plain.append_column(name, values)
    for split in SCORES:
        if split in table.column_names:
            for name, values in scores_of(table[split], split).items():
                plain = plain.append_column(name, values)
    return plain


def _settings(column: pa.ChunkedArray) -> dict[str, pa.Array]:
    coded = column.combine_chunks().dictionary_encode()  # the seeds of a setting have the same text
    trees: list[dict[str, Any]] = [json.loads(text) for text in coded.dictionary.to_pylist()]
    return {
        name: _alike([tree.get(name) for tree in trees]).take(coded.indices)
        for name in sorted({name for tree in trees for name in tree})
    }


def _alike(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def scores_of(column: pa.ChunkedArray, split: str) -> dict[str, pa.Array]:
    """The scores of a column `val` or `test`, by name; null where a record has none."""
    lists = column.combine_chunks()
    owner = pc.list_parent_indices(lists).to_numpy()
    scores = lists.flatten()
    value = scores.field("value").to_numpy(zero_copy_only=False)
    metric, region = (scores.field(name).dictionary_encode() for name in ("metric", "region"))
    regions = region.dictionary.to_pylist()
    code = metric.indices.to_numpy() * len(regions) + region.indices.to_numpy()
    found = {}
    for number in np.unique(code):
        rows = code == number
        values = np.full(len(lists), np.nan)
        values[owner[rows]] = value[rows]
        name = f"{split}/{metric.dictionary[int(number) // len(regions)]}/{regions[int(number) % len(regions)]}"
        found[name] = pa.array(values, pa.float64(), from_pandas=True)
    return dict(sorted(found.items()))
