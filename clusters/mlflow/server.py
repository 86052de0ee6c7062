"""An MLflow server of this machine on a PostgreSQL of its own, until Ctrl-C: `make mlflow`.

All of it lies in one folder: the database in `postgres/`, and artifacts in `artifacts/`, unless
MLFLOW_ARTIFACTS_DESTINATION names another place, like s3://BUCKET/PREFIX. It listens to this machine only. Credentials
come from the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or what else boto3 reads),
MLFLOW_AUTH_ADMIN_PASSWORD.
"""

import argparse
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from filelock import FileLock, Timeout

from clusters.mlflow import database
from orchestrator.errors import BadInput, StorageFailed, one_line
from orchestrator.storage.store import followed, open_store
from workloads.extras import MissingExtra, need

HOST: Final = "127.0.0.1"
START_S: Final = 300
"""MLflow makes its tables at the first start."""
STOP_S: Final = 15
PASSWORD: Final = "MLFLOW_AUTH_ADMIN_PASSWORD"
SHORTEST: Final = 12
"""Characters of a password, by MLflow's own law."""
ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(folder: Path, port: int, auth: bool) -> int:
    """Run until a signal ends it, which is exit code 0; raises BadInput for what cannot run, before anything starts."""
    environment = _checked(folder, port, auth)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "2"]
    command += ["--app-name", "basic-auth"] if auth else []
    with (
        _told_to_end(),
        _alone(folder),
        database.running(folder) as found,
        _started(command, {**environment, **found}) as process,
    ):
        if _answers(process, port):
            _say(f"MLflow: http://{HOST}:{port}; a study is shown there with tracking.uri=http://{HOST}:{port}")
            _say(f"database: {folder / 'postgres'}; artifacts: {environment['MLFLOW_ARTIFACTS_DESTINATION']}")
            if auth:
                _say("it asks for a password: clients read MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
        code = process.wait()
    raise BadInput(f"MLflow must stay, and ended with {code}; what it said stands above")


def _checked(folder: Path, port: int, auth: bool) -> dict[str, str]:
    """The environment of MLflow; raises BadInput for what stands in the way."""
    try:
        need("psycopg2", *(["flask_wtf"] if auth else []))
    except MissingExtra as err:
        raise BadInput(str(err)) from None
    if auth and len(os.environ.get(PASSWORD, "")) < SHORTEST:
        raise BadInput(f"{PASSWORD} must hold a password of {SHORTEST} characters or more, that of the user admin")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as err:
            raise BadInput(f"port {port} must be free: {err.strerror}; PORT=5001 takes another one") from None
    folder.mkdir(parents=True, exist_ok=True)
    artifacts = os.environ.get("MLFLOW_ARTIFACTS_DESTINATION") or str(folder / "artifacts")
    if artifacts.startswith("s3://"):
        endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL")
        open_store(f"{artifacts}?endpoint_url={quote(endpoint)}" if endpoint else artifacts, write=False)
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # of language models
        "MLFLOW_AUTH_CONFIG_PATH": str(Path(__file__).parent / "basic_auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),  # signs forms, not runs: each start has its own
        **os.environ,
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
        "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2://",  # PGHOST and the like say which
    }


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = FileLock(folder / ".lock")
    try:
        with lock.acquire(blocking=False):
            yield
    except Timeout:
        raise BadInput(f"a folder has one server at a time, and one runs on {folder}; FOLDER= names another") from None


@contextmanager
def _told_to_end() -> Iterator[None]:
    """The first signal ends what is within; further ones do not disturb the end. What is ignored (nohup) stays so."""
    heard = {name: found for name in ENDS if (found := signal.getsignal(name)) is not signal.SIG_IGN}

    def end(number: int, frame: object) -> None:
        for name in heard:
            signal.signal(name, signal.SIG_IGN)
        raise KeyboardInterrupt

    for name in heard:
        signal.signal(name, end)
    try:
        yield
    finally:
        for name, found in heard.items():
            signal.signal(name, found)


@contextmanager
def _started(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a group of its own, which ends as a whole."""
    with subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5):
                return True
        except OSError:
            time.sleep(0.2)
    return False


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 when it was told to end, 2 for what cannot run, with one line that says why."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=followed, help="where everything lies")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--basic-auth", action="store_true", help="ask for a name and a password")
    given = parser.parse_args(arguments)
    try:
        return serve(given.folder, given.port, given.basic_auth)
    except (BadInput, StorageFailed) as err:
        sys.stderr.write(f"tailsweep: {one_line(err)}\n")
        return 2
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
