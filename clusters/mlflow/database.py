"""A PostgreSQL of one folder, for the user who starts it.

It listens to a Unix socket only and asks the system who calls (`peer`), so there is no password that could be told.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from orchestrator.errors import BadInput, one_line

DEBIAN: Final = "/usr/lib/postgresql"
"""Where Debian puts programs of PostgreSQL that are not on its PATH."""
ACCOUNTS: Final = ("postgres", "nobody")
"""Whom PostgreSQL runs as when root starts it, which it refuses to be."""
WAIT_S: Final = 120


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """The database of a folder, made when there is none; gives the variables by which clients find it."""
    programs, account = {name: _program(name) for name in ("initdb", "pg_ctl")}, _account(folder)
    data, log = folder / "postgres", folder / "postgres.log"
    if not data.exists():
        _make(data, programs["initdb"], account)
    control = [programs["pg_ctl"], "--pgdata", str(data), "--silent", "--wait", "--timeout", str(WAIT_S)]
    if _run([*control, "status"], account).returncode == 0:  # whoever started it was killed
        _run([*control, "--mode", "fast", "stop"], account)
    # Not in the folder: the path of a socket has at most some 100 characters.
    with tempfile.TemporaryDirectory(prefix="tailsweep-") as sockets, log.open("ab") as written:
        _give(Path(sockets), account)
        options = f"-c listen_addresses= -c unix_socket_directories={sockets}"
        if _run([*control, "--options", options, "start"], account, stdout=written).returncode:
            last = log.read_text("utf-8", "replace").splitlines()[-2:]
            raise BadInput(f"PostgreSQL must start on {data}: {one_line(' '.join(last), 300)}; its log is {log}")
        try:
            yield {"PGHOST": sockets, "PGUSER": _me(), "PGDATABASE": "postgres"}
        finally:
            _run([*control, "--mode", "fast", "stop"], account)


def _program(name: str) -> str:
    elsewhere = sorted(Path(DEBIAN).glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, elsewhere)]))
    if found is None:
        raise BadInput(
            f"the server needs PostgreSQL, whose {name} is not on the PATH; apt-get install postgresql brings it"
        )
    return found


def _account(folder: Path) -> dict[str, Any]:
    """Whom the programs run as: another user when root starts them; raises BadInput where that one has no access."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next(names[name] for name in ACCOUNTS if name in names)
    account: dict[str, Any] = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    if _run(["test", "-x", str(folder)], account).returncode:
        raise BadInput(
            f"PostgreSQL does not run as root, but as {entry.pw_name}, who cannot enter {folder}; be another user, or "
            "name another folder, like FOLDER=/var/lib/mlflow"
        )
    return account


def _make(data: Path, initdb: str, account: Mapping[str, Any]) -> None:
    """Make the data under another name first: what is cut off is no database."""
    made = data.with_name(f"{data.name}.new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(mode=0o700)
    _give(made, account)
    who = ["--username", _me(), "--auth-local", "peer", "--auth-host", "reject"]
    done = _run([initdb, "--pgdata", str(made), *who, "--encoding", "UTF8", "--locale", "C"], account)
    if done.returncode:
        raise BadInput(f"PostgreSQL must be able to make its data in {data.parent}: {one_line(done.stderr, 300)}")
    made.rename(data)


def _me() -> str:
    """Not what the environment says: PostgreSQL asks the system."""
    return pwd.getpwuid(os.geteuid()).pw_name


def _give(folder: Path, account: Mapping[str, Any]) -> None:
    if account:
        os.chown(folder, account["user"], account["group"])


def _run(command: list[str], account: Mapping[str, Any], stdout: Any = subprocess.PIPE) -> Any:
    """A program in a session of its own, which Ctrl-C does not reach, and without what the environment tells."""
    return subprocess.run(
        command,
        **account,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.STDOUT if stdout is not subprocess.PIPE else subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        cwd="/",
        start_new_session=True,
        check=False,
    )
