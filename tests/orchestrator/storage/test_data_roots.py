"""Data sets in S3: every node copies what it needs once, and what one has prepared the others need not."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from builders import study
from orchestrator.catalogue.data import make_fixture
from orchestrator.cli.main import main
from orchestrator.engine.packs import run
from orchestrator.engine.trial import Job
from orchestrator.errors import BadInput
from orchestrator.ledger.ledger import Ledger
from orchestrator.storage.data_roots import PREPARED, _copy, local_root, needed, prepared_in
from orchestrator.storage.s3 import open_s3
from orchestrator.storage.s3_place import Place
from orchestrator.storage.store import LocalStore
from orchestrator.study.cells import _DECLARED, Cell, expand, load_data
from s3_server import before, bucket, once
from workloads import WORKLOADS
from workloads.workload import DataError

FACES = WORKLOADS["agedb-dir"]
TABLE = {"name": "mine", "type": "table", "file": "tables/mine.csv", "target": "y", "bin_width": 1.0}


@pytest.fixture
def there(s3: str, tmp_path: Path) -> str:
    """A data root in S3 with faces, a table, and what nobody asks for."""
    make_fixture(FACES, tmp_path / "made")
    rows = "\n".join(f"{n % 7},{n % 10}" for n in range(600))
    (tmp_path / "made" / "tables").mkdir()
    (tmp_path / "made" / "tables" / "mine.csv").write_text(f"x,y\n{rows}\n", encoding="utf-8")
    (tmp_path / "made" / "agedb-other").mkdir()
    (tmp_path / "made" / "agedb-other" / "large").write_bytes(b"x")
    root = bucket(s3)
    for key in LocalStore(tmp_path / "made").keys(""):
        open_s3(root).put(key, (tmp_path / "made" / key).read_bytes())
    return root


Node = Callable[[str], Path]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Makes this process one of another machine: with a cache of its own, and nothing in memory."""

    def become(name: str) -> Path:
        folder = tmp_path / name
        monkeypatch.setenv("TAILSWEEP_CACHE", str(folder))
        for known in (_copy, load_data):
            known.cache_clear()
        _DECLARED.clear()
        WORKLOADS.pop("mine", None)
        return folder

    become("cache")
    return become


def test_a_node_copies_what_a_workload_needs_and_nothing_else(there: str, tmp_path: Path, node: Node) -> None:
    root = local_root(there, needed(FACES))
    assert root is not None
    made = LocalStore(tmp_path / "made")
    copied = LocalStore(root).keys("")
    assert copied == made.keys("agedb/")
    assert all((root / key).read_bytes() == made.get(key) for key in copied)
    assert FACES.load(root).fingerprint == FACES.load(tmp_path / "made").fingerprint


def test_a_copy_follows_the_bucket_and_what_has_not_changed_is_not_copied_again(there: str, node: Node) -> None:
    root = local_root(there, ["tables", "agedb"])
    assert root is not None
    faces = {path: path.stat().st_ino for path in (root / "agedb").rglob("*.jpg")}
    time.sleep(1.1)  # S3 tells seconds
    open_s3(there).put("tables/mine.csv", b"x,y\n1,2\n")
    gone, *_ = faces
    open_s3(there).delete(str(gone.relative_to(root)))
    _copy.cache_clear()
    assert local_root(there, ["tables", "agedb"]) == root
    assert (root / "tables" / "mine.csv").read_bytes() == b"x,y\n1,2\n"
    assert not gone.exists()
    assert all(path.stat().st_ino == inode for path, inode in faces.items() if path != gone)


def test_nothing_outside_the_copy_is_touched(there: str, tmp_path: Path, node: Node) -> None:
    folder = node("careful")
    outside = tmp_path / "of-mine.csv"
    outside.write_text("x,y\n", encoding="utf-8")
    assert local_root(there, [str(outside), "../../of-mine.csv", ".", "./tables/mine.csv"]) is not None
    assert outside.exists()
    (copied,) = folder.rglob("*.csv")
    assert copied.parts[-2:] == ("tables", "mine.csv")
    place, client = Place.parse(there), open_s3(there)._client
    client.put_object(Bucket=place.bucket, Key=f"{place.prefix}tables/", Body=b"")
    _copy.cache_clear()
    assert local_root(there, ["tables"]) is not None, "an object that stands for a folder is none"
    client.put_object(Bucket=place.bucket, Key=f"{place.prefix}tables/../../../of-mine.csv", Body=b"theirs")
    _copy.cache_clear()
    with pytest.raises(DataError, match=r"\.\./of-mine\.csv is no name of a file below the data root"):
        local_root(there, ["tables"])
    assert outside.read_text("utf-8") == "x,y\n"


def test_a_broken_network_costs_no_file_and_leaves_no_half_one(there: str, s3: str, node: Node) -> None:
    with before(s3) as (address, faults):
        faults.choose = once("reset before", "slow down", "reset after", where=lambda request: ".jpg" in request.path)
        root = local_root(there.replace(s3, address), needed(FACES))
    assert root is not None
    assert FACES.load(root).fingerprint == FACES.load(local_root(there, needed(FACES))).fingerprint
    assert not list(root.rglob("*.tmp"))
    assert len(faults.met) == 3


def test_what_one_node_has_decoded_the_next_one_need_not(
    there: str, s3: str, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = bucket(s3)
    first = load_data(FACES, there, storage)
    (prepared,) = open_s3(storage).keys(PREPARED)
    node("second")
    with monkeypatch.context() as patch:
        patch.setattr("workloads.cache._decode", lambda *_: pytest.fail("decoded again"))
        assert load_data(FACES, there, storage).fingerprint == first.fingerprint
    open_s3(storage).put(prepared, b"damaged")
    node("third")
    assert load_data(FACES, there, storage).fingerprint == first.fingerprint


def test_a_storage_that_takes_nothing_costs_time_only(there: str, s3: str, node: Node) -> None:
    storage = bucket(s3)
    with before(s3) as (address, faults):
        faults.choose = lambda request: "denied" if request.command in {"PUT", "POST"} else None
        assert len(load_data(FACES, there, storage.replace(s3, address)).train.y)
        assert faults.met
    assert open_s3(storage).keys("") == []


def test_data_of_this_machine_go_to_no_bucket(s3: str, tmp_path: Path, node: Node) -> None:
    make_fixture(FACES, tmp_path / "made")
    storage = bucket(s3)
    load_data(FACES, str(tmp_path / "made"), storage)
    assert open_s3(storage).keys("") == []
    with prepared_in(storage, storage, WORKLOADS["nhanes-sbp"]):
        FACES.load(tmp_path / "made")
    assert open_s3(storage).keys("") == [], "a root in S3 says nothing of data that are not read from it"


def test_a_trial_on_another_machine_trains_on_data_in_s3(there: str, s3: str, node: Node) -> None:
    storage = bucket(s3)
    ours = study(workloads=[TABLE], data=there, storage=storage, train={"epochs": 1})
    cell: Cell = expand(ours)[0]
    job = Job.of(cell.trial("tune", 0, {}), 0, ours, storage)
    assert job.own is not None
    assert job.own["file"] == "tables/mine.csv", "a place that every node finds in its own copy"
    folder = node("worker")
    assert len(list(run(job))) == 1
    assert (folder / "s3").is_dir()
    assert Ledger(storage).read("tune")["status"].to_pylist() == ["completed"]


def test_the_data_commands_take_a_root_in_s3(there: str, node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "check", "agedb-dir", "--root", there])
    assert "fingerprint" in capsys.readouterr().out
    main(["data", "list", "--root", there])
    told = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")}
    assert "at hand" in told["agedb-dir"]
    assert "at hand" not in told["imdb-wiki-dir"]
    assert main(["data", "fetch", "agedb-dir", "--root", there]) == 2
    assert "data are fetched into a folder" in capsys.readouterr().err


@pytest.mark.parametrize("root", ["s3://nobody-has-this-bucket/data", "s3://BAD"])
def test_a_root_that_cannot_be_read_is_told_before_any_work(root: str, s3: str, node: Node) -> None:
    begun = time.monotonic()
    with pytest.raises(BadInput, match=r"the data root must be readable: .*TAILSWEEP_DATA|s3://BUCKET/PREFIX"):
        expand(study(workloads=["agedb-dir"], data=f"{root}?endpoint_url={s3}"))
    assert time.monotonic() - begun < 10
