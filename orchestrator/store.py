"""Where bytes are kept: keys like `ledger/tune/3f….parquet` in a folder."""

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


def open_store(uri: str) -> Store:
    """The store of a storage setting; raises BadInput when it cannot be written, before any work starts."""
    if "://" in uri:
        raise BadInput(f"storage must be a folder: got {uri!r}; object stores are not supported yet")
    store = LocalStore(Path(uri))
    try:
        store.put(".writable", b"")
        store.delete(".writable")
    except StorageFailed as err:
        raise BadInput(
            f"the storage folder must be writable: {err}; choose another with --storage or STORAGE="
        ) from err
    return store
