"""Which rows of a file train, val and test hold: one table per workload and fingerprint of its data.

With it predictions can be joined with the file that the data were read from. Earlier releases kept none.
"""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.ledger.names import split_key
from orchestrator.ledger.parquet import RESTORE, Damaged, from_parquet, to_parquet
from orchestrator.ledger.telling import tell
from orchestrator.storage.store import Store
from workloads.workload import Data, Drawn, Maps, Split, images_of

SPLITS: Final = pa.schema(
    [
        ("split", pa.string()),
        ("row", pa.int64()),  # of the split, as in tables of predictions
        ("file_row", pa.int64()),  # of the file, from 0 as pandas and Arrow count
        ("name", pa.string()),  # what the file calls the row, such as an image
        ("pixel", pa.int64()),  # of a label map: down · width + across
        ("y", pa.float64()),
    ]
)
OF_FILE: Final = ("file_row", "name", "pixel")
"""What a table of predictions gets."""


def table_of(data: Data) -> pa.Table:
    """The rows of the three splits (schema `SPLITS`); of maps, their scored pixels."""
    drawn = data.drawn or (None, None, None)
    parts = zip(("train", "val", "test"), (data.train, data.val, data.test), drawn, strict=True)
    return pa.concat_tables([_part(*part) for part in parts])


def _part(name: str, split: Split, drawn: Drawn | None) -> pa.Table:
    y = split.y.numpy().astype(np.float64)
    image = images_of(split)
    at = np.arange(len(y)) if image is None else image
    pixels = split.at.numpy() % int(np.prod(split.shape)) if isinstance(split, Maps) else None
    numbers = None if drawn is None else np.asarray(drawn.numbers)[at]
    names = None if drawn is None or not drawn.names else np.asarray(drawn.names, dtype=object)[at]
    columns = [np.full(len(y), name, dtype=object), np.arange(len(y)), numbers, names, pixels, y]
    return pa.table(
        [
            pa.nulls(len(y), field.type) if column is None else pa.array(column, field.type)
            for field, column in zip(SPLITS, columns, strict=True)
        ],
        schema=SPLITS,
    )


def write(store: Store, workload: str, data: Data) -> None:
    """Keep the splits of a workload, unless they are there."""
    store.create(split_key(workload, data.fingerprint), to_parquet(table_of(data)))


def read(data: bytes, key: str) -> pa.Table:
    """A file of splits; raises Damaged."""
    table = from_parquet(data, key)
    if not table.schema.equals(SPLITS):
        raise Damaged(f"{key} is not in the schema of splits; {RESTORE}")
    return table


def find(store: Store, workload: str, fingerprint: str) -> pa.Table | None:
    """The splits that were kept; None where there are none, and with a word where they are damaged."""
    key = split_key(workload, fingerprint)
    data = store.get(key)
    try:
        return None if data is None else read(data, key)
    except Damaged as err:
        tell(str(err))
        return None


def with_places(predictions: pa.Table, splits: pa.Table | None, split: str) -> pa.Table:
    """Predictions with the columns `OF_FILE` of their rows; as they are where nothing is known of these."""
    kept = None if splits is None else splits.filter(pc.equal(splits["split"], split))
    if kept is None or len(kept) != len(predictions):
        return predictions
    for name in OF_FILE:
        predictions = predictions.append_column(SPLITS.field(name), kept[name])
    return predictions
