import os
import threading
from pathlib import Path

import pytest

from orchestrator.errors import BadInput, StorageFailed
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
