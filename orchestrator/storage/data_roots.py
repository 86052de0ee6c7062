"""Where data sets lie on this machine: in a folder, or in a copy of the part of an S3 bucket that holds them.

Every node copies what its trials need once, below TAILSWEEP_CACHE. What is prepared of such data is kept in the
storage, if that is in S3 as well: the next node need not decode again.
"""

import contextlib
import hashlib
import mmap
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from filelock import FileLock

from orchestrator.errors import BadInput, StorageFailed
from orchestrator.storage.store import followed, need_aws, remote
from workloads.cache import default_folder, sharing, tell, writing
from workloads.workload import DataError, Workload

if TYPE_CHECKING:
    from orchestrator.storage.s3 import S3Object, S3Store

AT_ONCE: Final = 16
"""Files that are copied at a time."""
PREPARED: Final = "cache/"
"""Where prepared data lie in a storage; may be deleted at any time."""


def needed(workload: Workload) -> tuple[str, ...]:
    """Files and folders below the data root that a workload reads; a package's data need none."""
    return tuple(name for name in (workload.origin.folder, *workload.origin.needs) if name)


def _plain(name: str) -> str:
    return str(PurePosixPath(name))


def _inside(name: str) -> bool:
    """Whether a name lies below a root: others, such as absolute paths, are found without a copy, or not at all."""
    path = PurePosixPath(name)
    return not path.is_absolute() and path.parts != () and ".." not in path.parts


def _outermost(names: Iterable[str]) -> tuple[str, ...]:
    every = set(names)
    return tuple(sorted(name for name in every if not any(name.startswith(f"{other}/") for other in every)))


def local_root(root: str | Path | None, names: Iterable[str] = (), check: bool = True) -> Path | None:
    """The folder below which data sets lie on this machine: `root` itself, or a copy of `names` below s3://….

    Raises BadInput within seconds for a bucket that does not answer, which a worker leaves to its driver (`check`);
    StorageFailed when it stops answering; DataError when the disk is too small.
    """
    if not root:
        return None
    if not remote(str(root)):
        return followed(root)
    return _copy(str(root), _outermost(filter(_inside, map(_plain, names))), check)


def at_hand(root: str | Path | None, name: str) -> bool:
    """Whether a file or folder is below the data root; raises as `local_root` does."""
    if root is None or not remote(str(root)):
        return root is not None and (followed(root) / name).exists()
    return _opened(str(root), True).first(name) is not None


@contextlib.contextmanager
def prepared_in(storage: str, root: str | None, workload: Workload) -> Iterator[None]:
    """While this lasts, what is prepared of data in S3 is looked for in the storage first, and kept there.

    Not of declared data sets: their files may lie on this machine, whatever the root is.
    """
    if root is None or not (remote(root) and remote(storage) and needed(workload)):
        yield  # data of this machine go to no bucket unasked
        return
    from orchestrator.storage.s3 import open_s3

    with sharing(Prepared(open_s3(storage))):
        yield


class Prepared:
    """Files of the cache in a storage. What goes wrong there costs time only: data are prepared anew."""

    def __init__(self, store: "S3Store") -> None:
        self._store = store

    def fetch(self, name: str, path: Path) -> bool:
        """Copy a file from the storage to `path`; says whether it was there."""
        with contextlib.suppress(StorageFailed, OSError):
            found = self._store.first(PREPARED + name)
            if found is not None and found.key == PREPARED + name:
                self._store.download(found, path)
                return True
        return False

    def keep(self, name: str, path: Path) -> None:
        """Copy a file to the storage, unless it is there."""
        with contextlib.suppress(StorageFailed, OSError), path.open("rb") as stream:
            if self._store.first(PREPARED + name) is None:
                with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
                    self._store.put(PREPARED + name, view)


@lru_cache(maxsize=64)
def _copy(root: str, names: tuple[str, ...], check: bool) -> Path:
    store = _opened(root, check)
    folder = default_folder() / "s3" / hashlib.sha256(root.encode()).hexdigest()[:16]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        with FileLock(folder.with_name(f"{folder.name}-{name.replace('/', '-')}.lock")):
            _update(store, name, folder)
    return folder


def _opened(root: str, check: bool) -> "S3Store":
    need_aws()
    from orchestrator.storage.s3 import open_s3  # boto3 is slow to import, and a folder does not need it

    if check:
        _check(root)
    return open_s3(root)


@lru_cache(maxsize=16)
def _check(root: str) -> None:
    from orchestrator.storage.s3 import S3Store
    from orchestrator.storage.s3_place import OPENING, Place

    try:
        S3Store(Place.parse(root), OPENING).first("")
    except StorageFailed as err:
        law = "the data root must be readable"
        raise BadInput(f"{law}: {err}; choose another with data: or TAILSWEEP_DATA") from err


def _update(store: "S3Store", name: str, folder: Path) -> None:
    """Make the local copy what S3 holds: a file is the same when its size and its time are."""
    wanted = (found for found in store.objects(name) if f"{found.key}/".startswith(f"{name}/"))
    there = {found.key: found for found in wanted if not found.key.endswith("/")}  # consoles make objects for folders
    if odd := [key for key in there if _plain(key) != key or not _inside(key)]:
        raise DataError(*(f"{store.locate(key)} is no name of a file below the data root" for key in sorted(odd)))
    target = folder / name
    here = [target] if target.is_file() else [path for path in target.rglob("*") if path.is_file()]
    for path in here:
        found = there.get(str(path.relative_to(folder)))
        if found is None:
            path.unlink()
        elif (path.stat().st_size, path.stat().st_mtime_ns) == (found.size, found.modified):
            del there[found.key]
    size, free = sum(found.size for found in there.values()), shutil.disk_usage(folder).free
    if size > free:
        raise DataError(
            f"{folder} has {free / 1e9:.1f} GB free, {store.locate(name)} needs {size / 1e9:.1f} GB: free some or set "
            "TAILSWEEP_CACHE to a folder on a larger disk"
        )
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="copy") as pool:
        waiting = [pool.submit(_get, store, found, folder / found.key) for found in there.values()]
        try:
            for done, copied in enumerate(as_completed(waiting), 1):
                copied.result()
                tell(done, len(waiting))
        finally:
            pool.shutdown(cancel_futures=True)


def _get(store: "S3Store", found: "S3Object", path: Path) -> None:
    """Under a temporary name until it is whole, with the time that S3 tells: the same on all nodes."""
    temporary = path.with_name(f".{path.name}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        store.download(found, temporary)
        os.utime(temporary, ns=(found.modified, found.modified))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
