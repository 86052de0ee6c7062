"""Tables as the bytes of Parquet files that tell when they are damaged.

Every page has a checksum, as the format foresees. It covers neither the headers of pages nor the footer, so a seal
stands before the footer, where readers that do not know it never look:

    PAR1  row groups  copy  starts  digests  lengths  digest of all this  digest of the footer  SEAL  footer  PAR1

`copy` is the footer again, compressed; `starts` and `digests` belong to the row groups, one each: what is left of a
damaged file of many records can be told from what is damaged. Only files of many records have these. A file without a
seal was written before there were any, and is read as it is.
"""

import contextlib
import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.errors import StorageFailed

SEAL: Final = b"\xf1tswseal"
DIGEST: Final = 20
TAIL: Final = 8
"""Bytes after a footer: its length, and PAR1."""
LENGTHS: Final = struct.Struct("<II")
SMALL: Final = 1 << 20
"""Bytes of a table below which zstd takes longer to begin with every column than for all that it compresses."""
END: Final = 2 * DIGEST + len(SEAL)
RESTORE: Final = "restore it from a copy, or run `tailsweep ledger repair STORAGE`"


class Damaged(StorageFailed):
    """Bytes of the storage are not what was written, or hold something else than their name says."""


@dataclass(frozen=True)
class Salvaged:
    """What is left of a damaged file: the rows of its sound row groups, and how many rows it had (None: unknown)."""

    table: pa.Table | None
    rows: int | None


def to_parquet(table: pa.Table, rows: int | None = None) -> bytes:
    """A table as the bytes of a sealed Parquet file; in groups of so many rows, each of which can be salvaged.

    A record is a table of one row and some 40 columns: with snappy, and without statistics that nobody reads, it is
    written and read in a third of the time.
    """
    sink = io.BytesIO()
    light = rows is None and table.nbytes < SMALL
    pq.write_table(
        table,
        sink,
        compression="snappy" if light else "zstd",
        write_statistics=not light,
        row_group_size=rows,
        write_page_checksum=True,
    )
    return _sealed(sink.getvalue(), many=rows is not None)


def from_parquet(data: bytes, name: str, columns: list[str] | None = None) -> pa.Table:
    """The table in the bytes of a Parquet file, without columns that it lacks; raises Damaged with its name."""
    if not data:
        raise Damaged(f"{name} in the ledger cannot be read: it is empty; {RESTORE}")
    with reading(name):
        sealed = is_sealed(data)
        file = open_parquet(data)
        table = file.read(columns=columns, use_threads=False)  # waking them takes longer than decoding
        if not sealed:
            table.validate(full=True)
    return table


def open_parquet(data: bytes) -> Any:
    """A Parquet file to be read by row groups; its pages are checked as they are read.

    It is in memory: threads that read ahead have nothing to wait for.
    """
    return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True, pre_buffer=False)


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """While this lasts, whatever is raised over the bytes of `name` is Damaged.

    All exceptions: the bytes are in memory, so it is their fault, and Arrow raises OSError, UnicodeDecodeError,
    OverflowError, its own and more over them.
    """
    try:
        yield
    except StorageFailed:
        raise
    except Exception as err:
        reason = str(err).partition("\n")[0][:200]
        raise Damaged(f"{name} in the ledger cannot be read: {reason}; {RESTORE}") from err


def is_sealed(data: bytes) -> bool:
    """Whether a file has a seal; raises ValueError when it does not fit the bytes."""
    end = _end_of_seal(data)
    if end is None:
        return False
    start = end - END
    whole, footer = data[start : start + DIGEST], data[start + DIGEST : start + 2 * DIGEST]
    if _digest(memoryview(data)[:start]) != whole or _digest(memoryview(data)[end:]) != footer:
        raise ValueError("its checksum does not fit")
    return True


def salvage(data: bytes, columns: list[str] | None = None) -> Salvaged:
    """The rows of a damaged file whose row groups are as they were written.

    Of a file without a seal, those that can be read at all.
    """
    if SEAL not in data:
        return _salvage_unsealed(data, columns)
    end = data.rfind(SEAL) + len(SEAL)
    if end < END + LENGTHS.size:
        return Salvaged(None, None)
    lengths = end - END - LENGTHS.size
    copied, groups = LENGTHS.unpack_from(data, lengths)
    digests = lengths - groups * DIGEST
    starts = digests - groups * 8
    body = starts - copied
    if body < 0 or not groups:
        return Salvaged(None, None)
    footer, wanted = data[end:], data[end - len(SEAL) - DIGEST : end - len(SEAL)]
    if _digest(footer) != wanted:
        try:
            footer = zlib.decompress(data[body:starts])
        except zlib.error:
            return Salvaged(None, None)
    bounds = [*struct.unpack_from(f"<{groups}Q", data, starts), body]
    sound = [
        number
        for number in range(groups)
        if _digest(memoryview(data)[bounds[number] : bounds[number + 1]])
        == data[digests + number * DIGEST : digests + (number + 1) * DIGEST]
    ]
    try:
        file = open_parquet(data[:end] + footer)
        return Salvaged(file.read_row_groups(sound, columns=columns), file.metadata.num_rows)
    except Exception:  # whatever Arrow raises over what is left
        return Salvaged(None, None)


def _salvage_unsealed(data: bytes, columns: list[str] | None) -> Salvaged:
    try:
        file = open_parquet(data)
    except Exception:  # as above
        return Salvaged(None, None)
    groups: list[pa.Table] = []
    for number in range(file.num_row_groups):
        with contextlib.suppress(Exception):
            group = file.read_row_group(number)
            group.validate(full=True)
            group.to_pylist()
            groups.append(group if columns is None else group.select(columns))
    return Salvaged(pa.concat_tables(groups) if groups else None, file.metadata.num_rows)


def _end_of_seal(data: bytes) -> int | None:
    """Where the footer begins, behind a seal; None without one."""
    (length,) = struct.unpack("<I", data[-TAIL:-4]) if len(data) >= TAIL else (0,)
    end: int = len(data) - TAIL - length
    if end >= END and data[end - len(SEAL) : end] == SEAL:
        return end
    found = data.rfind(SEAL)  # the length itself may be what is damaged
    return None if found < 0 else found + len(SEAL)


def _sealed(data: bytes, many: bool) -> bytes:
    """Put a seal before the footer: all offsets in it count from the beginning of the file, so they stay true."""
    (length,) = struct.unpack("<I", data[-TAIL:-4])
    body, footer = data[: len(data) - TAIL - length], data[len(data) - TAIL - length :]
    copy = zlib.compress(footer) if many else b""
    starts = _starts(data) if many else []
    bounds = [*starts, len(body)]
    digests = [_digest(memoryview(body)[a:b]) for a, b in pairwise(bounds)]
    index = struct.pack(f"<{len(starts)}Q", *starts) + b"".join(digests) + LENGTHS.pack(len(copy), len(starts))
    before = body + copy + index
    return before + _digest(before) + _digest(footer) + SEAL + footer


def _starts(data: bytes) -> list[int]:
    """Where the row groups of a file begin."""
    about = open_parquet(data).metadata
    found: list[int] = []
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        columns = [group.column(column) for column in range(group.num_columns)]
        places = [(c.dictionary_page_offset, c.data_page_offset) for c in columns]
        found.append(min(place for pair in places for place in pair if place is not None))
    return found


def _digest(data: bytes | memoryview) -> bytes:
    """SHA-1: met are accidents, not attackers, and it is the fastest of hashlib on most machines."""
    return hashlib.sha1(data, usedforsecurity=False).digest()
