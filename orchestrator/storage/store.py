"""Where bytes are kept: keys like `ledger/tune/3f….parquet`, in a folder or below a prefix in S3."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from orchestrator.errors import BadInput, StorageFailed


class Store(Protocol):
    """A flat set of named byte strings, safe under any number of writers.

    Every call raises StorageFailed when the storage does not answer.
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
        self.root = root.expanduser().resolve()
        self.uri = str(self.root)

    def get(self, key: str) -> bytes | None:
        """The bytes of a key, or None."""
        try:
            return (self.root / key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as err:
            raise StorageFailed(f"cannot read {self.root / key}: {err.strerror}") from err

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
        target = self.root / key
        with self._written(target, data) as temporary:
            temporary.replace(target)

    def create(self, key: str, data: bytes) -> bool:
        """Write to a temporary name and link it: unlike a rename, a link fails where the name exists."""
        target = self.root / key
        with self._written(target, data) as temporary:
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
        return True

    def keys(self, prefix: str) -> list[str]:
        """All keys below a prefix; temporary files do not count."""
        folder = self.root / prefix
        return sorted(
            str(path.relative_to(self.root))
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".tmp-")
        )

    def delete(self, key: str) -> None:
        """Remove the file."""
        try:
            (self.root / key).unlink(missing_ok=True)
        except OSError as err:
            raise StorageFailed(f"cannot delete {self.root / key}: {err.strerror}") from err

    def locate(self, key: str) -> str:
        """The path of a file."""
        return str(self.root / key)


def remote(uri: str) -> bool:
    """Whether a storage setting names something else than a folder; raises BadInput for what is neither."""
    scheme, sign, _ = uri.partition("://")
    if sign and scheme != "s3":
        raise BadInput(f"a storage, like a data root, is a folder or s3://BUCKET/PREFIX: got {uri!r}")
    return bool(sign)


def local_folder(uri: str) -> Path:
    """Where files of a storage lie that must be on this machine, MLflow's: in it, or in `results` here for S3."""
    return Path("results" if remote(uri) else uri).expanduser().resolve()


def open_store(uri: str, check: bool = True) -> Store:
    """The store of a storage setting.

    Raises BadInput when it cannot be written, before any work starts; a worker leaves that `check` to its driver.
    """
    if remote(uri):
        from orchestrator.storage import s3  # boto3 is slow to import, and a folder does not need it

        if check:
            s3.check(uri)
        return s3.open_s3(uri)
    store = LocalStore(Path(uri))
    if not check:
        return store
    try:
        store.put(".writable", b"")
        store.delete(".writable")
    except StorageFailed as err:
        raise BadInput(
            f"the storage folder must be writable: {err}; choose another with --storage or STORAGE="
        ) from err
    return store
