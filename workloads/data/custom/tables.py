"""CSV, TSV and Parquet files as Arrow columns, whatever their bytes are: columns, or one message."""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from workloads.data.custom.arrow import is_text, kind_within, readable
from workloads.messages import brief, listed, reason
from workloads.workload import DataError

LARGEST: Final = 4 << 30
"""Most bytes of a file, or of what is unpacked of it: a table or an array is held in memory whole."""
BLOCK: Final = 8 << 20
"""Bytes of a CSV that are read at a time; no row is longer."""
INDEX: Final = re.compile(r"\s*|Unnamed: \d+|__index_level_\d+__")
"""Names of columns that nobody named: those of an index that pandas wrote, or of row names."""


@dataclass(frozen=True)
class File:
    """An open table: its columns in order, those that are an index of pandas, and `read(positions)`."""

    names: tuple[str, ...]
    kinds: tuple[pa.DataType, ...]
    index: frozenset[str]
    read: Callable[[list[int]], list[pa.ChunkedArray]]


def read_table(
    path: Path, named: Collection[str], dropped: Collection[str], others: bool
) -> tuple[dict[str, pa.ChunkedArray], list[str]]:
    """Columns of a file by name: those that are `named`, and with `others` the rest; and columns of an index left out.

    Raises DataError for a file that cannot be read, is empty or too large, for a named column that is missing, for two
    of one name, and for cells that are neither numbers nor words. Columns that are not asked for, or `dropped`, may
    hold anything.
    """
    if path.suffix.lower() not in OPENERS:
        raise DataError(f"{path}: a table is a file of {', '.join(OPENERS)}")
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise ValueError(f"it has {size / 1e9:.1f} GB, and at most {LARGEST / 1e9:.1f} GB are read")
        file = OPENERS[path.suffix.lower()](path)
    except Exception as err:  # a broken file raises whatever its bytes happen to say
        raise DataError(f"{path}: is no {path.suffix.lower()} file that can be read: {reason(err)}") from None
    if missing := [name for name in named if name not in file.names]:
        raise DataError(
            *(f"{path}: column {brief(name)} is missing; the file has {listed(file.names)}" for name in missing)
        )
    unnamed = {name for name in file.names if name not in named and (INDEX.fullmatch(name) or name in file.index)}
    wanted = set(file.names) if others else set(named)
    if twice := [name for name, count in Counter(file.names).items() if count > 1 and name in wanted]:
        raise DataError(
            *(
                f"{path}: {file.names.count(name)} columns "
                f"{f'are called {brief(name)}' if name.strip() else 'have no name'}; give each a name of its own"
                for name in twice
            )
        )
    read = wanted - unnamed - set(dropped)
    at = [place for place, name in enumerate(file.names) if name in read]
    if wrong := [place for place in at if not readable(file.kinds[place])]:
        raise DataError(*(f"{path}: {neither(file.names[place], file.kinds[place])}" for place in wrong))
    try:
        cells = file.read(at)
        for values in cells:
            values.validate(full=True)  # a damaged file may name words of a dictionary that it does not have
    except Exception as err:
        raise DataError(f"{path}: is no {path.suffix.lower()} file that can be read: {reason(err)}") from None
    if not cells or len(cells[0]) == 0:
        raise DataError(f"{path}: has no rows")
    return {file.names[place]: values for place, values in zip(at, cells, strict=True)}, sorted(unnamed & wanted)


def neither(name: str, kind: pa.DataType) -> str:
    """That a column can be no input, and the way out."""
    return (
        f"column {brief(name)} holds {_cut(kind)}, which is neither numbers nor words; list it under drop, or turn it "
        "into numbers"
    )


def _cut(kind: pa.DataType) -> str:
    text = str(kind)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _csv(path: Path, delimiter: str) -> File:
    """Every cell as text: what is a number is told by the whole column, not by its first block."""
    names = _header(path, delimiter)
    table = pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=BLOCK),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    kinds = tuple(field.type for field in table.schema)
    return File(tuple(table.column_names), kinds, frozenset(), lambda places: [table.column(at) for at in places])


def _header(path: Path, delimiter: str) -> list[str]:
    with path.open("rb") as stream:
        if stream.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise ValueError("it must be UTF-8: it begins as UTF-16 does; save it as UTF-8")
    # No cell is longer than a block; the limit of the module, which is for all its readers, is left alone.
    with path.open(encoding="utf-8-sig", newline="") as stream:
        try:
            return next(csv.reader(iter(lambda: stream.readline(BLOCK), ""), delimiter=delimiter), [])
        except UnicodeDecodeError:
            raise ValueError(f"it must be UTF-8: line {_undecodable(path)} is not; save it as UTF-8") from None


def _undecodable(path: Path) -> int:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 0


def _parquet(path: Path) -> File:
    with pyarrow.parquet.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    # Text is read as a dictionary: a word that a page holds once is not written out once for every row.
    words = [field.name for field in schema if is_text(kind_within(field.type))]

    def read(places: list[int]) -> list[pa.ChunkedArray]:
        if (size := 8 * rows * len(places)) > LARGEST:
            raise ValueError(
                f"{rows:,} rows × {len(places):,} columns take {size / 1e9:.1f} GB, and at most {LARGEST / 1e9:.1f} GB "
                "are read"
            )
        with pyarrow.parquet.ParquetFile(path, read_dictionary=words) as file:
            table = file.read(columns=[schema.names[at] for at in places], use_pandas_metadata=False)
        return [table.column(schema.names[at]) for at in places]

    return File(tuple(schema.names), tuple(field.type for field in schema), _index(schema), read)


def _index(schema: pa.Schema) -> frozenset[str]:
    """Columns that pandas wrote as the index of its rows; none where its note of them is broken."""
    try:
        told = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
        return frozenset(name for name in told if isinstance(name, str))
    except (KeyError, TypeError, ValueError):
        return frozenset()


OPENERS: Final[Mapping[str, Callable[[Path], File]]] = {
    ".csv": lambda path: _csv(path, ","),
    ".tsv": lambda path: _csv(path, "\t"),
    ".parquet": _parquet,
}
"""Readers of tables by the end of the file's name."""
