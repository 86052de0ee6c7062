"""How commands end: the exit code and the line for every kind of error."""

import errno
import stat
import tempfile
from pathlib import Path
from urllib.error import URLError

import pytest

from orchestrator.cli.guard import guarded
from orchestrator.errors import BadInput, ClusterFailed, Preempted, StorageFailed, TrackingFailed


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("x"), 2),
        (StorageFailed("x"), 4),
        (ClusterFailed("x"), 3),
        (TrackingFailed("x"), 3),
        (Preempted(), 143),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 2),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), 2),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), 2),
        (OSError(errno.ENOSPC, "No space left on device"), 4),
        (OSError(errno.EIO, "Input/output error"), 4),
        (OSError(errno.EROFS, "Read-only file system"), 4),
        (ConnectionRefusedError("x"), 3),
        (TimeoutError("x"), 3),
        (URLError("x"), 3),
    ],
    ids=repr,
)
def test_every_error_has_its_exit_code_and_one_line(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        raise error

    assert guarded(command) == code
    said = capsys.readouterr().err
    assert said.startswith("tailsweep: ")
    assert said.count("\n") == 1


def test_what_nobody_foresaw_is_told_with_its_traceback_in_a_private_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def command() -> int:
        raise ZeroDivisionError("at\nhttp://ann:hunter2@host/")

    assert guarded(command) == 1
    said = capsys.readouterr().err
    (path,) = tmp_path.iterdir()
    assert str(path) in said
    assert "ZeroDivisionError: at http://***@host/" in said
    assert said.count("\n") == 1
    assert "Traceback" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
