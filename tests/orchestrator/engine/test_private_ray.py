"""Where Ray's session lies, and who can read it; a real one is looked at in test_foreign_folder.py."""

import os
import stat
from pathlib import Path

import pytest

from orchestrator.engine.private_ray import SHORT, keep_token_private, session_folder, started_in
from orchestrator.errors import BadInput, ClusterFailed


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_TMPDIR", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_session_lies_in_a_folder_of_its_own_that_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    with session_folder() as folder:
        assert mode(folder) == 0o700
        assert len(str(folder)) <= 40
    assert not folder.exists()
    monkeypatch.setattr("tempfile.tempdir", "/tmp/" + "long" * 30)
    with session_folder() as folder:
        assert folder.parent == SHORT


def test_a_failed_cluster_leaves_its_logs_and_says_where() -> None:
    with pytest.raises(ClusterFailed, match="all workers lost; Ray's logs are in /tmp/ts-") as said, session_folder():
        raise ClusterFailed("all workers lost")
    folder = Path(str(said.value).rpartition(" ")[2])
    assert folder.is_dir()
    folder.rmdir()
    with pytest.raises(KeyboardInterrupt), session_folder() as folder:
        raise KeyboardInterrupt
    assert not folder.exists()


def test_a_named_place_keeps_the_logs_and_is_private_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with session_folder() as base:
        shared = base / "s"
        shared.mkdir(mode=0o755)
        monkeypatch.setenv("RAY_TMPDIR", str(shared))
        with session_folder() as folder:
            assert folder.parent == shared
            assert mode(folder) == 0o700
        assert folder.is_dir()
        shared.chmod(0o700)
        with session_folder() as folder:
            assert folder == shared, "a private place needs no folder below it, whose name would cost letters"
        assert folder.is_dir()
        monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "long" * 30)
        with pytest.raises(BadInput, match="RAY_TMPDIR must have at most"), session_folder():
            pass
        monkeypatch.setenv("RAY_TMPDIR", "/proc/nope")
        with pytest.raises(BadInput, match=r"/proc/nope.*; set RAY_TMPDIR to a writable one"), session_folder():
            pass


def test_ray_starts_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with session_folder() as folder:
        with started_in(folder):
            assert folder in Path.cwd().parents
            assert not list(Path.cwd().iterdir())
        assert Path.cwd() == tmp_path


def test_the_token_is_readable_by_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / ".ray" / "auth_token"
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    keep_token_private()
    assert not token.exists()
    monkeypatch.delenv("RAY_AUTH_MODE")
    keep_token_private()
    assert mode(token) == 0o600
    written = token.read_text()
    assert len(written) == 64
    token.chmod(0o644)
    keep_token_private()
    assert (mode(token), token.read_text()) == (0o600, written)
    monkeypatch.setenv("HOME", "/proc/nope")
    with pytest.raises(BadInput, match="RAY_AUTH_TOKEN_PATH"):
        keep_token_private()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", os.devnull)
    keep_token_private()
