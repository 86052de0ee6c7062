"""MLflow's SQLite file: its address, how it is made in one step, and how it is written."""

import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psutil
from sqlalchemy import Engine, event, make_url

from orchestrator.storage.create_once import name_once

ARTIFACTS: Final = "mlartifacts"
LOCAL: Final = frozenset({"apfs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})
"""File systems that one machine has to itself."""
_OURS: Final[set[str]] = set()
"""Files that `make_database` was asked for: whose other databases a process has is nobody's business here."""


def sqlite_uri(path: str) -> str:
    """The address of an SQLite file, whatever signs its path has: a `?` or `%` means something in an address.

    SQLAlchemy unquotes the path from 2.1 on; before, SQLite's own form of an address is needed, which is unquoted.
    """
    quoted = quote(path)
    forms = (f"sqlite:///{path}", f"sqlite:///{quoted}")
    return next((uri for uri in forms if make_url(uri).database == path), f"sqlite:///file:{quoted}?uri=true")


def make_database(path: Path) -> None:
    """Make MLflow's SQLite file where there is none, in one step, and choose its journal.

    A process that is killed while MLflow makes the tables would leave a file that no later one can complete. So they
    are made in a file beside it, which gets the name when it is whole; of two at once, the first one's stays.
    """
    _OURS.add(str(path.resolve()))
    if path.exists():
        _choose_journal(path)
    else:
        _make(path)


def _make(path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # only a new database needs it

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        _choose_journal(made)
        # Not through a client: its connections stay open, and SQLite forbids a file to be open under two names.
        store = SqlAlchemyStore(sqlite_uri(str(made)), (path.parent / ARTIFACTS).as_uri())  # type: ignore[no-untyped-call]
        store.engine.dispose()
        name_once(made, path)


def _choose_journal(path: Path) -> None:
    """A write-ahead log on a disk of this machine; SQLite's usual journal elsewhere, where the log cannot be shared.

    The file keeps the choice, which is made anew where a storage was moved. MLflow commits six times for a trial, and
    the usual journal waits for the disk three times for each (https://sqlite.org/wal.html).
    """
    journal = "WAL" if file_system(path.parent) in LOCAL else "DELETE"
    with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.OperationalError):  # another one writes to it
        connection.execute(f"PRAGMA journal_mode = {journal}")


def settle(path: Path) -> None:
    """Bring what is in the log into the file, which is then whole by itself."""
    with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.OperationalError):  # another one is using it
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def file_system(folder: Path) -> str:
    """The kind of file system of a folder, like `ext4` or `nfs4`; empty where it is not known."""
    kinds = {mount.mountpoint: mount.fstype for mount in psutil.disk_partitions(all=True)}
    whole = folder.resolve()
    return next((kinds[str(place)] for place in (whole, *whole.parents) if str(place) in kinds), "")


@event.listens_for(Engine, "connect")
def _spare_the_disk(connection: Any, _: object) -> None:
    """Let commits into our write-ahead log not wait for the disk.

    A loss of power may then take the last of them, which the next `track` sends again; the file stays whole.
    """
    if isinstance(connection, sqlite3.Connection):
        (_, _, file), *_ = connection.execute("PRAGMA database_list")
        (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
        if file in _OURS and journal == "wal":
            connection.execute("PRAGMA synchronous = NORMAL")
