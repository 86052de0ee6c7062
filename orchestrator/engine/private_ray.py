"""A Ray of one sweep on this machine, that nobody else can read or reach.

Ray makes its session folders writable for everybody (mode 777, the one that it is given, too) and the file with its
token readable (644). So the session lies below a folder of this sweep's own (700), and the token is made here.
"""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator.errors import BadInput, ClusterFailed

SOCKET_CHARS: Final = 107
"""What Unix allows for the path of a socket."""
RAY_CHARS: Final = len("/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
OWN_CHARS: Final = len("/ts-12345678")
SHORT: Final = Path("/tmp")
"""Where sockets fit, whatever TMPDIR says."""
TOKEN_VARIABLES: Final = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@contextlib.contextmanager
def session_folder() -> Iterator[Path]:
    """The folder for Ray's session: made for this sweep with mode 700, removed at the end.

    It stays, with Ray's logs in it, when the cluster failed, and where RAY_TMPDIR names a place for it; that place
    itself is taken where only its owner can look into it. Raises BadInput where no folder can be made, or where no
    socket would fit into it.
    """
    named = os.environ.get("RAY_TMPDIR")
    base = Path(named or tempfile.gettempdir()).absolute()
    try:
        private = bool(named) and base.is_dir() and _private(base)
        room = SOCKET_CHARS - RAY_CHARS - (0 if private else OWN_CHARS)
        if len(os.fsencode(base)) > room:
            if named:
                raise BadInput(f"RAY_TMPDIR must have at most {room} bytes, or Ray's sockets do not fit: got {named!r}")
            base = SHORT
        base.mkdir(parents=True, exist_ok=True)
        folder = base if private else Path(tempfile.mkdtemp(prefix="ts-", dir=base))
    except OSError as err:
        raise BadInput(f"Ray needs a folder for its session: {err}; set RAY_TMPDIR to a writable one") from None
    kept = bool(named)
    try:
        yield folder
    except ClusterFailed as err:
        kept = True
        raise ClusterFailed(f"{err}; Ray's logs are in {folder}") from err
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _private(folder: Path) -> bool:
    """Whether only this user can look into a folder."""
    found = folder.stat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o077


@contextlib.contextmanager
def started_in(folder: Path) -> Iterator[None]:
    """Be in an empty folder below `folder` while Ray starts, which puts the current one onto the path of its workers.

    Its processes stay there: the folder must outlive them.
    """
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    with contextlib.chdir(empty):
        yield


def keep_token_private() -> None:
    """Make the file of Ray's token with mode 600 where it is missing, or give it that mode; raises BadInput.

    Nothing happens where the environment brings a token, or does without.
    """
    if any(os.environ.get(name) for name in TOKEN_VARIABLES) or os.environ.get("RAY_AUTH_MODE", "token") != "token":
        return
    path = Path.home() / ".ray" / "auth_token"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
                stream.write(secrets.token_hex(32))
            return
        if path.stat().st_uid == os.getuid() and path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as err:
        raise BadInput(
            f"Ray keeps its token in {path}: {err}; make it writable, or set RAY_AUTH_TOKEN_PATH to a file with a token"
        ) from None
