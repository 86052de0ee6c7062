"""How commands end: the exit code and the line for every kind of error."""

import errno
import re
import stat
import tempfile
from pathlib import Path
from urllib.error import URLError

import pytest

from orchestrator.cli.guard import guarded
from orchestrator.errors import BadInput, ClusterFailed, Preempted, StorageFailed, TrackingFailed, masked, one_line


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


@pytest.mark.parametrize(
    "text",
    [
        "http://ann:hunter2@host:5000 is away",
        "http://hunter2@host",
        "postgresql://ann:hunter2@db/x: no driver",
        "postgresql+psycopg2://ann:hunter2@db",
        "s3://b/x?token=hunter2&region=eu",
        "password=hunter2; host=db",
        "AWS_SECRET_ACCESS_KEY=hunter2",
        "http://ann:hunter2@1.2.3.4 and http://bob:hunter2@host",
    ],
)
def test_no_password_is_told(text: str) -> None:
    assert "hunter2" not in masked(text)
    assert "hunter2" not in one_line(text * 300)


@pytest.mark.parametrize("text", ["x" * 5_000_000, "\x1b[2J" * 1_000_000, "a\n" * 1_000_000, "\u202e\ud800" * 10])
def test_a_message_of_any_size_and_content_is_one_short_line(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 2000
    assert re.search(r"[\x00-\x1f\x7f-\x9f\u202e\ud800]", line) is None
