"""MLflow's SQLite file: its address, and how it is made in one step."""

import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import make_url

from orchestrator.storage.create_once import name_once

ARTIFACTS: Final = "mlartifacts"


def sqlite_uri(path: str) -> str:
    """The address of an SQLite file, whatever signs its path has: a `?` or `%` means something in an address.

    SQLAlchemy unquotes the path from 2.1 on; before, SQLite's own form of an address is needed, which is unquoted.
    """
    quoted = quote(path)
    forms = (f"sqlite:///{path}", f"sqlite:///{quoted}")
    return next((uri for uri in forms if make_url(uri).database == path), f"sqlite:///file:{quoted}?uri=true")


def make_database(path: Path) -> None:
    """Make MLflow's SQLite file where there is none, in one step.

    A process that is killed while MLflow makes the tables would leave a file that no later one can complete. So they
    are made in a file beside it, which gets the name when it is whole; of two at once, the first one's stays.
    """
    if path.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # only a new database needs it

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mlflow-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        # Not through a client: its connections stay open, and SQLite forbids a file to be open under two names.
        store = SqlAlchemyStore(sqlite_uri(str(made)), (path.parent / ARTIFACTS).as_uri())  # type: ignore[no-untyped-call]
        store.engine.dispose()
        name_once(made, path)
