import errno
import io
import os
import threading
from pathlib import Path

import pytest

from orchestrator.errors import BadInput, StorageFailed
from orchestrator.storage import create_once
from orchestrator.storage.store import LocalStore, Store, open_store
from s3_server import bucket


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A new storage of either kind."""
    return open_store(str(tmp_path) if request.param == "folder" else bucket(request.getfixturevalue("s3")))


def test_what_was_put_is_read_and_a_second_put_replaces_it(store: Store) -> None:
    assert store.get("a/b") is None
    store.put("a/b", b"1")
    store.put("a/b", b"2")
    assert store.get("a/b") == b"2"


def test_of_many_that_create_one_key_exactly_one_writes_it(store: Store) -> None:
    won: list[int] = []
    start = threading.Barrier(16)

    def create(number: int) -> None:
        start.wait()
        if store.create("ledger/x", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("ledger/x") == str(won[0]).encode()
    assert store.keys("ledger/") == ["ledger/x"]


def test_the_keys_below_a_prefix_are_listed_all_and_in_order(store: Store) -> None:
    for key in ("a/2", "a/10", "a/b/1", "ab/1", "c"):
        store.put(key, b"")
    assert store.keys("a/") == ["a/10", "a/2", "a/b/1"]
    assert store.keys("nothing/") == []
    assert store.locate("a/2").endswith("a/2")


def test_a_store_is_found_again_by_its_uri(store: Store) -> None:
    store.put("x", b"1")
    assert open_store(store.uri, check=False).get("x") == b"1"


def test_a_half_written_file_is_no_key(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("ledger/x", b"1")
    (tmp_path / "ledger" / ".tmp-left-by-a-crash").write_bytes(b"half")
    assert store.keys("ledger/") == ["ledger/x"]


def test_creating_leaves_no_other_file_behind(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert store.create("ledger/x", b"1")
    assert not store.create("ledger/x", b"2")
    assert [path.name for path in (tmp_path / "ledger").iterdir()] == ["x"]


def test_deleting_twice_is_no_error(store: Store) -> None:
    store.put("x", b"1")
    store.delete("x")
    store.delete("x")
    assert store.get("x") is None


def test_a_folder_that_cannot_be_written_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BadInput, match=r"must be writable: .*choose another with --storage"):
        open_store(str(tmp_path / "file" / "results"))


def test_what_is_neither_a_folder_nor_s3_is_refused() -> None:
    with pytest.raises(BadInput, match="is a folder or s3://BUCKET/PREFIX: got 'gs://bucket/x'"):
        open_store("gs://bucket/x")


def test_a_write_that_fails_later_says_so(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("in the way")
    with pytest.raises(StorageFailed, match="cannot write"):
        LocalStore(tmp_path).put("ledger/x", b"1")


def test_files_can_be_read_by_others_as_the_umask_allows(tmp_path: Path) -> None:
    LocalStore(tmp_path).put("x", b"1")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o666 & ~umask


LEAVING = ("../../x", "a/../../x", "/etc/x", "a\0b", "", ".", "a/./b", "a//b", "a/", "a\\..\\b", "a\nb", "x" * 2000)


@pytest.mark.parametrize("key", LEAVING)
def test_a_key_cannot_leave_the_root_whatever_is_done_with_it(store: Store, key: str, tmp_path: Path) -> None:
    outside = sorted(tmp_path.parent.iterdir())
    for call in (lambda: store.put(key, b"1"), lambda: store.create(key, b"1"), lambda: store.get(key)):
        with pytest.raises(BadInput, match="a key of a storage"):
            call()
    with pytest.raises(BadInput, match="a key of a storage"):
        store.delete(key)
    if key not in {"", "a/"}:
        with pytest.raises(BadInput, match="a key of a storage"):
            store.keys(key)
    assert sorted(tmp_path.parent.iterdir()) == outside
    assert store.keys("") == []


def test_a_link_that_leads_out_of_the_storage_is_followed_by_nothing(tmp_path: Path) -> None:
    (outside := tmp_path / "outside").mkdir()
    (outside / "x").write_bytes(b"of somebody else")
    store = LocalStore(tmp_path / "results")
    store.put("a", b"1")
    (store.root / "folder").symlink_to(outside)
    (store.root / "file").symlink_to(outside / "x")
    (store.root / "circle").symlink_to(store.root / "circle")
    for key in ("folder/x", "file", "folder/new"):
        for call in (lambda k=key: store.get(k), lambda k=key: store.put(k, b"2"), lambda k=key: store.create(k, b"2")):
            with pytest.raises(StorageFailed, match=r"a link leads from .* remove the link"):
                call()
        with pytest.raises(StorageFailed, match="a link leads from"):
            store.delete(key)
    with pytest.raises(StorageFailed):
        store.get("circle/x")
    assert [path.name for path in outside.iterdir()] == ["x"]
    assert (outside / "x").read_bytes() == b"of somebody else"
    assert open_store(str(store.root)).get("a") == b"1"
    (store.root / "ledger").symlink_to(outside)
    with pytest.raises(BadInput, match="a link leads from"):
        open_store(str(store.root))


def test_a_storage_that_is_a_link_itself_is_one(tmp_path: Path) -> None:
    (tmp_path / "large-disk").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "large-disk")
    open_store(str(tmp_path / "results")).put("a", b"1")
    assert (tmp_path / "large-disk" / "a").read_bytes() == b"1"


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_hard_links_is_served_and_one_creator_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refused)
    store = open_store(str(tmp_path))
    test_of_many_that_create_one_key_exactly_one_writes_it(store)
    assert [path.name for path in (tmp_path / "ledger").iterdir()] == ["x"]


def test_a_file_system_with_neither_way_to_create_once_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(create_once, "NO_REPLACE", 1 << 20)  # a flag that no file system knows: EINVAL
    with pytest.raises(BadInput, match=r"without hard links .* choose a folder on another disk, or s3://"):
        open_store(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["r#1?é b", "100%", "a&b=c", "tab\tname"])
def test_a_storage_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    store = open_store(str(tmp_path / name))
    assert store.create("ledger/x", b"1")
    assert open_store(store.uri).keys("") == ["ledger/x"]


@pytest.mark.parametrize(
    "uri", ["~nobody-has-this-name/x", "a\0b", "s3://[bucket/x", "s3://bucket/x?endpoint_url=http://[x"]
)
def test_a_storage_that_cannot_be_a_place_is_bad_input(uri: str) -> None:
    with pytest.raises(BadInput, match=r"a storage|a path"):
        open_store(uri)


def test_who_only_reads_creates_nothing(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "none"), write=False)
    assert store.keys("ledger/") == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("call", ["write", "fsync", "link", "mkdir"])
def test_a_disk_that_takes_nothing_is_a_failure_of_the_storage_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    store = LocalStore(tmp_path)
    if call == "write":

        class Full(io.BytesIO):
            write = full  # type: ignore[assignment]

        monkeypatch.setattr(Path, "open", lambda path, mode: (path.touch(), Full())[1])
    else:
        monkeypatch.setattr(Path if call == "mkdir" else os, call, full)
    with pytest.raises(StorageFailed, match="cannot write"):
        store.create("ledger/x", b"1")
    if call != "link":
        with pytest.raises(StorageFailed, match="cannot write"):
            store.put("checkpoints/x", b"1")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
