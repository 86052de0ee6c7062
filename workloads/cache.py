"""Decode once: rows of one shape in a memory-mapped Arrow file, which all trials on a node share."""

import contextlib
import hashlib
import logging
import mmap
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from filelock import FileLock
from torch import Tensor

from workloads.cache_checks import SEAL, SUM, batches_of, seal, sum_of, view
from workloads.messages import reason
from workloads.workload import DataError

logger = logging.getLogger("tailsweep.cache")

Bytes: TypeAlias = npt.NDArray[np.uint8]
Progress: TypeAlias = Callable[[int, int], None]
T = TypeVar("T")

ROWS_PER_BATCH: Final = 64
"""Rows decoded and written at a time: 10 MB of images at 224 px, which bounds what the builder holds."""
BATCH_BYTES: Final = 64 << 20
"""Of larger rows, such as nights of signals, fewer."""
RELEASE_ROWS: Final = 32
"""A reader gives mapped pages back after so many rows; they stay in the page cache, which belongs to all."""
FORMAT: Final = 2
"""Raise it when the layout of the file changes."""


@dataclass(frozen=True)
class Source:
    """A file to decode: its place, its name below the data root, and where it is named (`agedb.csv:17`).

    `beside` are files that are read along with it, as the signals of a header are.
    """

    path: Path
    name: str
    where: str = ""
    beside: tuple[Path, ...] = ()

    def said(self, problem: str) -> str:
        """A problem with the file, in words."""
        return f"{self.where}: {self.path} {problem}" if self.where else f"{self.path} {problem}"


@dataclass(frozen=True)
class Transform:
    """How the bytes of a file become a row.

    `decode(content, source)` returns numbers of `shape` and `dtype`, or raises an exception that says what is wrong;
    it is called from many threads. `name` stands for it in the key of the cache: change it whenever the rows change.
    """

    name: str
    shape: tuple[int, ...]
    decode: Callable[[bytes, Source], npt.NDArray[Any]]
    dtype: str = "uint8"

    @property
    def width(self) -> int:
        """Bytes of a row."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def rows_per_batch(self) -> int:
        """Rows that are decoded and written at a time."""
        return max(1, min(ROWS_PER_BATCH, BATCH_BYTES // self.width))


_TOLD: ContextVar[Progress | None] = ContextVar("progress", default=None)


@contextlib.contextmanager
def telling(progress: Progress) -> Iterator[None]:
    """While this lasts, `progress(done, all)` hears of everything that is being prepared.

    Who waits for data is far from who decodes: most loaders prepare nothing, and none need hand this through.
    """
    before = _TOLD.set(progress)
    try:
        yield
    finally:
        _TOLD.reset(before)


def tell(done: int, of: int) -> None:
    """Say how far something that takes long is."""
    if (progress := _TOLD.get()) is not None:
        progress(done, of)


class Shared(Protocol):
    """A place that other nodes reach, too."""

    def fetch(self, name: str, path: Path) -> bool:
        """Copy the file of that name to `path`; says whether there is one."""

    def keep(self, name: str, path: Path) -> None:
        """Take a copy of a file."""


_SHARED: ContextVar[Shared | None] = ContextVar("shared", default=None)


@contextlib.contextmanager
def sharing(shared: Shared) -> Iterator[None]:
    """While this lasts, files of the cache are looked for in a shared place before they are made, and kept there."""
    before = _SHARED.set(shared)
    try:
        yield
    finally:
        _SHARED.reset(before)


def once(path: Path, read: Callable[[Path], T | None], write: Callable[[BinaryIO], None]) -> T:
    """What `read` makes of a file of the cache that `write` fills, by one process; the others wait and read it.

    `read` returns None for a file that is missing or damaged: it is then written anew. The file has a temporary name
    until it is whole and on the disk, so one that is half written is never read; if `write` raises, nothing is kept.
    Raises DataError where the folder cannot be made or written.
    """
    with writing(path.parent):
        return _once(path, read, write)


def _once(path: Path, read: Callable[[Path], T | None], write: Callable[[BinaryIO], None]) -> T:
    if (found := read(path)) is not None:
        return found
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if (found := read(path)) is not None:
            return found
        for left in path.parent.glob(f"{path.stem}.*.tmp"):
            left.unlink()  # its writer was killed: a living one would hold the lock
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        shared = _SHARED.get()
        try:
            if shared is not None and shared.fetch(path.name, temporary):
                temporary.replace(path)
                if (found := read(path)) is not None:
                    return found
            with temporary.open("wb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        if shared is not None:
            shared.keep(path.name, path)
    found = read(path)
    assert found is not None, f"{path} cannot be read after it was written"
    return found


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What goes wrong with a folder of the cache while this lasts is raised as DataError, with the way out."""
    try:
        yield
    except OSError as err:
        place = folder if err.filename is None else Path(os.fsdecode(err.filename))
        if not place.is_relative_to(folder) and place not in folder.parents:
            raise  # of a file that is read, not of the cache
        raise DataError(
            f"{folder}: the folder of prepared data cannot be made or written ({reason(err)}): set TAILSWEEP_CACHE to "
            "a folder on this machine that can be"
        ) from None


class Rows:
    """A finished cache: `read(index)` copies rows, nothing else is ever held in memory.

    A row is compared with its checksum when a process first reads it: reading all of them at the start of every trial
    would take minutes. One that is damaged on the disk is told, and decoded `again`; the file is deleted, so that the
    next process makes it anew.

    Opening raises ValueError, and what Arrow raises, for a file that is not whole, reading DataError for a row that
    cannot be decoded again.
    """

    def __init__(
        self, path: Path, transform: Transform, again: Callable[[int], npt.NDArray[Any] | None] = lambda row: None
    ) -> None:
        with path.open("rb") as stream:
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._path, self._again = path, again
        self.shape, self._per_batch = transform.shape, transform.rows_per_batch
        self._type = torch.from_numpy(np.empty(0, transform.dtype)).dtype
        self._batches: list[npt.NDArray[Any]] = []
        self._repaired: dict[int, npt.NDArray[Any]] = {}
        digests = hashlib.sha256()
        sums: list[Bytes] = []
        for batch, sealed in batches_of(self._map):
            rows = view(batch.column("row"), transform.width).view(transform.dtype)
            self._batches.append(rows.reshape(-1, *self.shape))
            files, own = view(batch.column("sha256"), 32), view(batch.column("sum"), SUM)
            if seal(files, own) != sealed:
                raise ValueError("checksums are damaged")
            digests.update(files.tobytes())
            sums.append(own.copy())
            self._release()
        self._sums = np.concatenate(sums) if sums else np.empty((0, SUM), np.uint8)
        self._length = len(self._sums)
        self._sound = np.zeros(self._length, dtype=bool)
        self.digest: str = digests.hexdigest()
        """SHA-256 over the contents of the files, in their order: the same wherever the files lie."""

    def __len__(self) -> int:
        return self._length

    def read(self, index: Tensor, pin: bool = False) -> Tensor:
        """Rows `[B, *shape]` of `index` `[B]`, a copy; `pin` puts it where a GPU fetches it without waiting."""
        out = torch.empty((len(index), *self.shape), dtype=self._type, pin_memory=pin)
        target = out.numpy()
        release = min(RELEASE_ROWS, self._per_batch)
        for position, row in enumerate(index.tolist()):
            target[position] = self._row(row)
            if position % release == release - 1:
                self._release()
        self._release()
        return out

    def _row(self, row: int) -> npt.NDArray[Any]:
        found = self._repaired.get(row)
        if found is None:
            found = self._batches[row // self._per_batch][row % self._per_batch]
            if not self._sound[row]:
                if sum_of(found) != self._sums[row].tobytes():
                    found = self._repaired[row] = self._repair(row)
                self._sound[row] = True
        return found

    def _repair(self, row: int) -> npt.NDArray[Any]:
        """A damaged row from its source again."""
        logger.warning("%s is damaged on the disk (row %d): it is made again", self._path, row)
        with contextlib.suppress(OSError):
            self._path.unlink()
        made = self._again(row)
        if made is None or sum_of(made) != self._sums[row].tobytes():
            raise DataError(f"{self._path} was damaged on the disk, and its source has changed; start again")
        return made

    def _release(self) -> None:
        # Pages that were read count as resident in every process that maps them, in the end the whole file. Linux maps
        # them in pieces of up to 2 MB, so 32 rows of 150 kB may count as 64 MB. Giving them back costs a minor fault at
        # the next visit; the data stays in the page cache.
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def default_folder() -> Path:
    """`$TAILSWEEP_CACHE`, else `~/.cache/tailsweep`; should be on a disk of the node. May be deleted at any time.

    Raises DataError where there is no home.
    """
    try:
        return Path(os.environ.get("TAILSWEEP_CACHE") or Path.home() / ".cache" / "tailsweep").expanduser()
    except RuntimeError as err:
        raise DataError(f"prepared data have no folder ({reason(err)}): set TAILSWEEP_CACHE to one") from None


def decoded(sources: Sequence[Source], transform: Transform, folder: Path | None = None) -> Rows:
    """The rows of `sources`, from the cache or decoded into it now.

    Many processes may ask at once: one builds, the others wait and read what it made.

    The key holds name, size and modification time of every source, and the transform. Not the contents: reading
    200,000 images at the start of every trial takes minutes, asking for their sizes a second. Contents are hashed once,
    while they are decoded; `Rows.digest` is what identifies the data in results.

    Raises DataError with every file that is missing or broken, before any row is used.
    """
    key, missing = _key(sources, transform)
    if missing:
        broken = {i: _decode(source, transform)[1] for i, source in enumerate(sources) if i not in missing}
        raise DataError(*(missing.get(i) or broken[i] for i in range(len(sources)) if i in missing or broken[i]))
    path = (folder or default_folder()) / f"{key}.arrow"

    def write(stream: BinaryIO) -> None:
        _check_room(path.parent, len(sources) * transform.width)
        _build(stream, sources, transform)
        if _key(sources, transform)[0] != key:
            raise DataError(f"{sources[0].path.parent}: files changed while they were read; start again")

    return once(path, lambda made: _opened(made, sources, transform), write)


def _key(sources: Sequence[Source], transform: Transform) -> tuple[str, dict[int, str]]:
    """Name of the cache file, and the problems of the sources that are not there, by position."""
    digest = hashlib.sha256(repr((FORMAT, ROWS_PER_BATCH, transform.name, transform.shape)).encode())
    missing: dict[int, str] = {}
    for position, source in enumerate(sources):
        try:
            for path in (source.path, *source.beside):
                found = path.stat()
                digest.update(repr((source.name, found.st_size, found.st_mtime_ns)).encode())
        except (OSError, ValueError) as err:  # ValueError: a name with a zero byte
            why = err.strerror if isinstance(err, OSError) else err
            missing[position] = source.said(f"is missing or unreadable ({why})")
    return digest.hexdigest()[:32], missing


def _opened(path: Path, sources: Sequence[Source], transform: Transform) -> Rows | None:
    """The cache if there is a whole one; a damaged one is built again."""
    if not path.is_file():
        return None
    try:
        rows = Rows(path, transform, lambda row: _decode(sources[row], transform)[0])
    except Exception:  # Arrow raises many kinds over bytes that are no file of it
        return None
    return rows if len(rows) == len(sources) else None


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DataError(
            f"{folder} has {free / 1e9:.1f} GB free, the decoded rows need {size / 1e9:.1f} GB: "
            "free some or set TAILSWEEP_CACHE to a folder on a larger disk"
        )


def _decode(source: Source, transform: Transform) -> tuple[npt.NDArray[Any] | None, str, bytes]:
    """Row, or what is wrong with the file, and the SHA-256 of its contents."""
    try:
        content = source.path.read_bytes()
        row = np.asarray(transform.decode(content, source), transform.dtype)
        digest = hashlib.sha256(content)
        for path in source.beside:
            digest.update(path.read_bytes())
    except DataError:
        raise
    except Exception as err:  # a broken file raises whatever its bytes happen to say
        return None, source.said(f"does not decode: {reason(err)}"), b""
    return row, "", digest.digest()


def _build(stream: BinaryIO, sources: Sequence[Source], transform: Transform) -> None:
    """Decode all sources into an Arrow file; raises DataError with all that are broken."""
    problems: list[str] = []
    schema = pa.schema([("row", pa.binary(transform.width)), ("sha256", pa.binary(32)), ("sum", pa.binary(SUM))])
    with pa.ipc.new_file(stream, schema) as writer:
        for batch in _batches(sources, transform, schema, problems):
            sealed = seal(view(batch.column("sha256"), 32), view(batch.column("sum"), SUM))
            writer.write_batch(batch, custom_metadata={SEAL: sealed})
    if problems:
        raise DataError(*problems)


def _batches(
    sources: Sequence[Source], transform: Transform, schema: pa.Schema, problems: list[str]
) -> Iterator[pa.RecordBatch]:
    """Record batches in the order of the sources; after the first problem only more problems are looked for."""
    size = transform.rows_per_batch
    # Threads, not processes: image libraries and hashing release the interpreter's lock, rows need no copying between
    # processes, and nothing is forked beside a running torch.
    with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        for start in range(0, len(sources), size):
            results = list(pool.map(lambda source: _decode(source, transform), sources[start : start + size]))
            problems += [problem for _, problem, _ in results if problem]
            if not problems:
                rows = np.stack([row for row, _, _ in results if row is not None])
                hashes = np.frombuffer(b"".join(digest for _, _, digest in results), dtype=np.uint8)
                sums = np.frombuffer(b"".join(map(sum_of, rows)), dtype=np.uint8)
                columns = [
                    pa.FixedSizeBinaryArray.from_buffers(field.type, len(rows), [None, pa.py_buffer(values)])
                    for field, values in zip(schema, (rows.reshape(-1), hashes, sums), strict=True)
                ]
                yield pa.record_batch(columns, schema=schema)
            tell(start + len(results), len(sources))


class CachedSplit:
    """A part of a data set whose inputs lie in a cache: row i is row `at[i]` of the cache."""

    read_ahead = True

    def __init__(self, rows: Rows, at: Tensor, y: Tensor) -> None:
        self.y, self._rows, self._at = y, rows, at

    def inputs(self, index: Tensor, device: torch.device) -> Tensor:
        """Rows `[B, …]` on the device."""
        on_gpu = device.type == "cuda"
        return self._rows.read(self._at[index], pin=on_gpu).to(device, non_blocking=on_gpu)
