"""Where bytes are kept: keys like `ledger/tune/3f….parquet`, in a folder or below a prefix in S3."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from orchestrator.errors import BadInput, StorageFailed, shown
from orchestrator.storage.create_once import name_once
from orchestrator.storage.keys import checked, checked_prefix
from workloads.extras import MissingExtra, need


class Store(Protocol):
    """A flat set of named byte strings, safe under any number of writers.

    Every call raises StorageFailed when the storage does not answer, or has no room; BadInput for a key that is no
    plain relative name.
    """

    uri: str

    def get(self, key: str) -> bytes | None:
        """The bytes of a key, or None."""

    def put(self, key: str, data: bytes) -> None:
        """Write a key whole, or not at all; replaces what was there."""

    def create(self, key: str, data: bytes) -> bool:
        """Write a key only if it does not exist; says whether this call wrote it. At most one caller ever does."""

    def keys(self, prefix: str) -> list[str]:
        """All keys below a prefix that ends in `/`, sorted."""

    def delete(self, key: str) -> None:
        """Forget a key; a key that is not there is no error."""

    def locate(self, key: str) -> str:
        """Where a key lies, to be shown."""


class LocalStore:
    """A folder on a local or shared disk."""

    def __init__(self, root: Path) -> None:
        self.root = followed(root)
        self.uri = str(self.root)

    def path(self, key: str) -> Path:
        """Where a key lies; raises BadInput for a key that is no plain name, StorageFailed where a link leads out."""
        path = self.root / checked(key)
        self._check_inside(path, key)
        return path

    def _check_inside(self, path: Path, key: str) -> None:
        try:
            inside = path.resolve().is_relative_to(self.root)
        except (OSError, RuntimeError) as err:
            raise StorageFailed(f"cannot find {path}: {err}") from err
        if not inside:
            raise StorageFailed(
                f"a storage holds what lies below its folder: a link leads from {path} to {path.resolve()}; "
                "remove the link, or make the whole storage folder one"
            )

    def readable(self) -> None:
        """Raises StorageFailed where something else than a readable folder, or nothing, is at its path."""
        try:
            next(self.root.iterdir(), None)
        except FileNotFoundError:
            return
        except OSError as err:
            raise StorageFailed(f"cannot list {self.root}: {err.strerror}") from err

    def get(self, key: str) -> bytes | None:
        """The bytes of a key, or None."""
        path = self.path(key)
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as err:
            raise StorageFailed(f"cannot read {path}: {err.strerror}") from err

    @contextlib.contextmanager
    def _written(self, target: Path, data: bytes) -> Iterator[Path]:
        """A complete temporary file beside its target; it is gone afterwards whatever happens."""
        temporary = target.parent / f".tmp-{uuid.uuid4().hex}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            yield temporary
        except OSError as err:
            raise StorageFailed(f"cannot write {target}: {err.strerror}") from err
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def put(self, key: str, data: bytes) -> None:
        """Write to a temporary name and rename."""
        target = self.path(key)
        with self._written(target, data) as temporary:
            temporary.replace(target)

    def create(self, key: str, data: bytes) -> bool:
        """Write to a temporary name, then give it the name unless that exists."""
        target = self.path(key)
        with self._written(target, data) as temporary:
            return name_once(temporary, target)

    def keys(self, prefix: str) -> list[str]:
        """All keys below a prefix; temporary files do not count."""
        folder = self.root / checked_prefix(prefix)
        self._check_inside(folder, prefix)
        try:
            return sorted(
                str(path.relative_to(self.root))
                for path in folder.rglob("*")
                if not path.name.startswith(".tmp-") and path.is_file()
            )
        except OSError as err:
            raise StorageFailed(f"cannot list {folder}: {err.strerror}") from err

    def delete(self, key: str) -> None:
        """Remove the file."""
        path = self.path(key)
        try:
            path.unlink(missing_ok=True)
        except OSError as err:
            raise StorageFailed(f"cannot delete {path}: {err.strerror}") from err

    def locate(self, key: str) -> str:
        """The path of a file."""
        return str(self.root / key)


def followed(path: str | Path) -> Path:
    """A path of the user's as an absolute one, `~` and links followed; raises BadInput for what is none."""
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as err:
        raise BadInput(f"a path must lead somewhere on this machine: got {shown(str(path))}: {err}") from None


def remote(uri: str) -> bool:
    """Whether a storage setting names something else than a folder; raises BadInput for what is neither."""
    scheme, sign, _ = uri.partition("://")
    if sign and scheme != "s3":
        raise BadInput(f"a storage, like a data root, is a folder or s3://BUCKET/PREFIX: got {shown(uri)}")
    return bool(sign)


def local_folder(uri: str) -> Path:
    """Where files of a storage lie that must be on this machine, MLflow's: in it, or in `results` here for S3."""
    return followed("results" if remote(uri) else uri)


def need_aws() -> None:
    """Raises BadInput where boto3 is not installed, which only S3 needs."""
    try:
        need("boto3")
    except MissingExtra as err:
        raise BadInput(f"S3 needs more: {err}") from None


def open_store(uri: str, check: bool = True, write: bool = True) -> Store:
    """The store of a storage setting.

    Raises BadInput when it cannot be written, before any work starts; a worker leaves that `check` to its driver. Who
    only reads asks without `write`: then nothing is created, neither a folder nor an object.
    """
    if remote(uri):
        need_aws()
        from orchestrator.storage import s3  # boto3 is slow to import, and a folder does not need it

        if check:
            s3.check(uri, write)
        return s3.open_s3(uri)
    store = LocalStore(Path(uri))
    if check:
        _check_local(store, write)
    return store


def _check_local(store: LocalStore, write: bool) -> None:
    """Raises BadInput for a folder that cannot do all that the ledger needs; leaves nothing behind but the folder."""
    probe = f".writable-{uuid.uuid4().hex}"
    try:
        for name in ("ledger", "checkpoints"):
            store.path(name)
        if not write:
            store.readable()
            return
        try:
            once, twice = store.create(probe, b""), store.create(probe, b"")
        finally:
            with contextlib.suppress(StorageFailed):  # what could not be written is what is told
                store.delete(probe)
    except StorageFailed as err:
        law = "writable" if write else "readable"
        raise BadInput(f"the storage folder must be {law}: {err}; choose another with --storage or STORAGE=") from err
    if not once or twice:
        raise BadInput(
            f"the storage must refuse to write a file that exists: {store.uri} does not, so two workers "
            "could overwrite each other's results; choose a folder on another disk, or s3://BUCKET/PREFIX"
        )
