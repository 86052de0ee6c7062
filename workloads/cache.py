"""Decode once: rows of one shape in a memory-mapped Arrow file, which all trials on a node share."""

import hashlib
import mmap
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from filelock import FileLock
from torch import Tensor

from workloads.workload import DataError

Bytes: TypeAlias = npt.NDArray[np.uint8]
Progress: TypeAlias = Callable[[int, int], None]

ROWS_PER_BATCH: Final = 64
"""Rows decoded and written at a time: 10 MB of images at 224 px, which bounds what the builder holds."""
RELEASE_ROWS: Final = 32
"""A reader gives mapped pages back after so many rows; they stay in the page cache, which belongs to all."""
FORMAT: Final = 1
"""Raise it when the layout of the file changes."""


@dataclass(frozen=True)
class Source:
    """A file to decode: its place, its name below the data root, and where it is named (`agedb.csv:17`)."""

    path: Path
    name: str
    where: str


@dataclass(frozen=True)
class Transform:
    """How the bytes of a file become a row.

    `decode` returns uint8 of `shape`, or raises ValueError saying what is wrong; it is called from many threads. `name`
    stands for it in the key of the cache: change it whenever the rows change.
    """

    name: str
    shape: tuple[int, ...]
    decode: Callable[[bytes], Bytes]


class Rows:
    """A finished cache: `read(index)` copies rows, nothing else is ever held in memory.

    Opening raises pyarrow.ArrowInvalid or ValueError for a file that is not whole.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        with path.open("rb") as stream:
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self.shape = shape
        self._batches: list[Bytes] = []
        digests = hashlib.sha256()
        with pa.ipc.open_file(pa.BufferReader(pa.py_buffer(self._map))) as reader:
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                self._batches.append(_view(batch.column("row"), shape))
                digests.update(_view(batch.column("sha256"), (32,)).tobytes())
                self._release()
        self._length = sum(len(batch) for batch in self._batches)
        self.digest: str = digests.hexdigest()
        """SHA-256 over the contents of the files, in their order: the same wherever the files lie."""

    def __len__(self) -> int:
        return self._length

    def read(self, index: Tensor, pin: bool = False) -> Tensor:
        """Rows `[B, *shape]` uint8 of `index` `[B]`, a copy; `pin` puts it where a GPU fetches it without waiting."""
        out = torch.empty((len(index), *self.shape), dtype=torch.uint8, pin_memory=pin)
        target = out.numpy()
        for position, row in enumerate(index.tolist()):
            target[position] = self._batches[row // ROWS_PER_BATCH][row % ROWS_PER_BATCH]
            if position % RELEASE_ROWS == RELEASE_ROWS - 1:
                self._release()
        self._release()
        return out

    def _release(self) -> None:
        # Pages that were read count as resident in every process that maps them, in the end the whole file. Linux maps
        # them in pieces of up to 2 MB, so 32 rows of 150 kB may count as 64 MB. Giving them back costs a minor fault at
        # the next visit; the data stays in the page cache.
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def _view(column: pa.FixedSizeBinaryArray, shape: tuple[int, ...]) -> Bytes:
    """A column as an array `[N, *shape]` over the mapped file, without copying."""
    if column.type != pa.binary(prod(shape)):
        raise ValueError(f"rows must have {prod(shape)} bytes: got {column.type}")
    flat = np.frombuffer(column.buffers()[1], dtype=np.uint8, count=len(column) * prod(shape))
    return flat.reshape(len(column), *shape)


def default_folder() -> Path:
    """`$TAILSWEEP_CACHE`, else `~/.cache/tailsweep`; should be on a disk of the node. May be deleted at any time."""
    return Path(os.environ.get("TAILSWEEP_CACHE") or Path.home() / ".cache" / "tailsweep").expanduser()


def decoded(
    sources: Sequence[Source], transform: Transform, folder: Path | None = None, progress: Progress | None = None
) -> Rows:
    """The rows of `sources`, from the cache or decoded into it now; `progress(done, all)` is called while decoding.

    Many processes may ask at once: one builds under a lock, the others wait and read what it made. The file has a
    temporary name until it is whole and on the disk, so one that is half built is never read.

    The key holds name, size and modification time of every source, and the transform. Not the contents: reading
    200,000 images at the start of every trial takes minutes, asking for their sizes a second. Contents are hashed once,
    while they are decoded; `Rows.digest` is what identifies the data in results.

    Raises DataError with every file that is missing or broken, before any row is used.
    """
    folder = folder or default_folder()
    key, missing = _key(sources, transform)
    if missing:
        broken = {i: _decode(source, transform)[1] for i, source in enumerate(sources) if i not in missing}
        raise DataError(*(missing.get(i) or broken[i] for i in range(len(sources)) if i in missing or broken[i]))
    path = folder / f"{key}.arrow"
    if (rows := _opened(path, len(sources), transform.shape)) is not None:
        return rows
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{key}.lock"):
        if (rows := _opened(path, len(sources), transform.shape)) is not None:
            return rows
        _build(path, sources, transform, progress)
    return Rows(path, transform.shape)


def _key(sources: Sequence[Source], transform: Transform) -> tuple[str, dict[int, str]]:
    """Name of the cache file, and the problems of the sources that are not there, by position."""
    digest = hashlib.sha256(repr((FORMAT, ROWS_PER_BATCH, transform.name, transform.shape)).encode())
    missing: dict[int, str] = {}
    for position, source in enumerate(sources):
        try:
            found = source.path.stat()
        except (OSError, ValueError) as err:  # ValueError: a name with a zero byte
            why = err.strerror if isinstance(err, OSError) else err
            missing[position] = f"{source.where}: {source.path} is missing or unreadable ({why})"
        else:
            digest.update(repr((source.name, found.st_size, found.st_mtime_ns)).encode())
    return digest.hexdigest()[:32], missing


def _opened(path: Path, length: int, shape: tuple[int, ...]) -> Rows | None:
    """The cache if there is a whole one; a damaged one is built again."""
    if not path.is_file():
        return None
    try:
        rows = Rows(path, shape)
    except (pa.ArrowInvalid, ValueError, OSError):
        return None
    return rows if len(rows) == length else None


def _decode(source: Source, transform: Transform) -> tuple[Bytes | None, str, bytes]:
    """Row, or what is wrong with the file, and the SHA-256 of its contents."""
    try:
        content = source.path.read_bytes()
        row = transform.decode(content)
    except (OSError, ValueError) as err:
        return None, f"{source.where}: {source.path} does not decode: {err}", b""
    return row, "", hashlib.sha256(content).digest()


def _build(path: Path, sources: Sequence[Source], transform: Transform, progress: Progress | None) -> None:
    """Write the cache; the caller holds its lock."""
    for left in path.parent.glob(f"{path.stem}.*.tmp"):
        left.unlink()  # its builder was killed: a living one would hold the lock
    size = len(sources) * prod(transform.shape)
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise DataError(
            f"{path.parent} has {free / 1e9:.1f} GB free, the decoded images need {size / 1e9:.1f} GB: "
            "free some or set TAILSWEEP_CACHE to a folder on a larger disk"
        )
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    problems: list[str] = []
    schema = pa.schema([("row", pa.binary(prod(transform.shape))), ("sha256", pa.binary(32))])
    try:
        with temporary.open("wb") as stream:
            with pa.ipc.new_file(stream, schema) as writer:
                for batch in _batches(sources, transform, schema, problems, progress):
                    writer.write_batch(batch)
            stream.flush()
            os.fsync(stream.fileno())
        if problems:
            raise DataError(*problems)
        if _key(sources, transform)[0] != path.stem:
            raise DataError(f"{sources[0].path.parent}: files changed while they were read; start again")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _batches(
    sources: Sequence[Source],
    transform: Transform,
    schema: pa.Schema,
    problems: list[str],
    progress: Progress | None,
) -> Iterator[pa.RecordBatch]:
    """Record batches in the order of the sources; after the first problem only more problems are looked for."""
    # Threads, not processes: image libraries and hashing release the interpreter's lock, rows need no copying between
    # processes, and nothing is forked beside a running torch.
    with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        for start in range(0, len(sources), ROWS_PER_BATCH):
            results = list(pool.map(lambda source: _decode(source, transform), sources[start : start + ROWS_PER_BATCH]))
            problems += [problem for _, problem, _ in results if problem]
            if not problems:
                rows = np.stack([row for row, _, _ in results if row is not None])
                hashes = np.frombuffer(b"".join(digest for _, _, digest in results), dtype=np.uint8)
                columns = [
                    pa.FixedSizeBinaryArray.from_buffers(field.type, len(rows), [None, pa.py_buffer(values)])
                    for field, values in zip(schema, (rows.reshape(-1), hashes), strict=True)
                ]
                yield pa.record_batch(columns, schema=schema)
            if progress is not None:
                progress(start + len(results), len(sources))


class CachedSplit:
    """A part of a data set whose inputs lie in a cache: row i is row `at[i]` of the cache."""

    def __init__(self, rows: Rows, at: Tensor, y: Tensor) -> None:
        self.y = y
        self._rows, self._at = rows, at

    def inputs(self, index: Tensor, device: torch.device) -> Tensor:
        """Rows `[B, …]` uint8 on the device."""
        on_gpu = device.type == "cuda"
        return self._rows.read(self._at[index], pin=on_gpu).to(device, non_blocking=on_gpu)
