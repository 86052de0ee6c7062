"""Checksums of the cache of decoded rows: of each row, and of these checksums for every batch of the file."""

import hashlib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Bytes: TypeAlias = npt.NDArray[np.uint8]
SUM: Final = 20
SEAL: Final = b"digest"
"""Where the metadata of a batch has its seal."""


def sum_of(row: npt.NDArray[Any]) -> bytes:
    """The checksum of a row: SHA-1, the fastest of hashlib; it must tell accidents, not attackers."""
    return hashlib.sha1(np.ascontiguousarray(row).view(np.uint8).data, usedforsecurity=False).digest()


def seal(files: Bytes, sums: Bytes) -> bytes:
    """What protects the digests of the files and the checksums of the rows of a batch."""
    return hashlib.sha256(files.tobytes() + sums.tobytes()).hexdigest().encode()


def batches_of(mapped: mmap.mmap) -> Iterator[tuple[pa.RecordBatch, bytes]]:
    """The batches of a cache, without copying, each with its seal."""
    with pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))) as reader:
        for number in range(reader.num_record_batches):
            batch, about = reader.get_batch_with_custom_metadata(number)
            yield batch, dict(about or {}).get(SEAL, b"")


def damage_of(path: Path) -> str | None:
    """What is wrong with a file of the cache; None for a whole one. Reads all of it.

    Files of older versions, which nothing reads any more, have no checksums.
    """
    try:
        with path.open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)  # it is closed with the last view of it
            for batch, sealed in batches_of(mapped):
                if "sum" not in batch.schema.names:
                    return None
                files, sums = view(batch.column("sha256"), 32), view(batch.column("sum"), SUM)
                rows = view(batch.column("row"), batch.column("row").type.byte_width)
                if seal(files, sums) != sealed:
                    return "the checksums do not fit"
                if any(sum_of(row) != own.tobytes() for row, own in zip(rows, sums, strict=True)):
                    return "a row does not fit its checksum"
    except Exception as err:  # Arrow raises many kinds over bytes that are no file of it
        return str(err).partition("\n")[0]
    return None


def view(column: pa.FixedSizeBinaryArray, width: int) -> Bytes:
    """A column as bytes `[N, width]` over the mapped file, without copying."""
    if column.type != pa.binary(width):
        raise ValueError(f"rows must have {width} bytes: got {column.type}")
    return np.frombuffer(column.buffers()[1], dtype=np.uint8, count=len(column) * width).reshape(-1, width)
