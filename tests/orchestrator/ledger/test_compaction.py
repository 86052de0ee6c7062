"""Compaction loses nothing and doubles nothing, whatever else happens to the ledger at the same time."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import builders
from builders import cell, record
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Record
from orchestrator.storage.store import LocalStore, Store, open_store
from running import HUNG_S
from s3_server import bucket


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new storage of either kind."""
    return str(tmp_path) if request.param == "folder" else bucket(request.getfixturevalue("s3"))


def committed(ledger: Ledger, count: int, start: int = 0) -> list[Record]:
    made = [record(cell().trial("tune", number, {}), float(number)) for number in range(start, start + count)]
    assert all(ledger.commit(one, "tune") for one in made)
    return made


def holds(storage: str | Store, wanted: list[Record]) -> None:
    """Every reader sees exactly these records."""
    ledger = Ledger(storage)
    assert sorted(ledger.read("tune")["trial_id"].to_pylist()) == sorted(one.trial_id for one in wanted)
    for one in wanted:
        assert Ledger(storage).find(one.trial_id, "tune") == one


def test_a_compacted_ledger_reads_as_before(storage: str) -> None:
    ledger, old_reader = Ledger(storage), Ledger(storage)
    wanted = committed(ledger, 5)
    before = ledger.read("tune")
    assert old_reader.find(wanted[0].trial_id, "tune") == wanted[0]
    assert ledger.compact("tune") == 5
    assert ledger.store.keys("ledger/tune/") == []
    assert ledger.store.keys("ledger/compact/") == ["ledger/compact/tune/000000.parquet"]
    for reader in (ledger, old_reader, Ledger(storage)):
        assert reader.read("tune").equals(before)
        assert reader.read("tune", ["number", "val"]).equals(before.select(["number", "val"]))
        assert [reader.find(one.trial_id, "tune") for one in wanted] == wanted
    wanted += committed(ledger, 3, start=5)
    holds(storage, wanted)
    assert ledger.compact("tune") == 3
    assert ledger.compact("tune") == 0
    holds(storage, wanted)


def test_a_late_writer_cannot_commit_again_what_was_compacted(storage: str) -> None:
    late = Ledger(storage)
    assert late.find("nothing", "tune") is None
    wanted = committed(Ledger(storage), 3)
    assert Ledger(storage).compact("tune") == 3
    assert not late.commit(replace(wanted[0], wall_s=99.0), "tune")
    assert not Ledger(storage).commit(replace(wanted[0], wall_s=99.0), "tune")
    assert late.store.keys("ledger/tune/") == []
    holds(storage, wanted)


def test_a_record_that_a_killed_late_writer_left_does_not_count_and_goes(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    wanted = committed(ledger, 3)
    key = ledger.store.keys("ledger/tune/")[0]
    ledger.compact("tune")
    late = next(one for one in wanted if one.trial_id in key)
    elsewhere = Ledger(str(tmp_path / "elsewhere"))
    elsewhere.commit(replace(late, wall_s=99.0), "tune")
    ledger.store.put(key, elsewhere.store.get(key) or b"")
    holds(str(tmp_path), wanted)
    assert Ledger(str(tmp_path)).compact("tune") == 0
    assert ledger.store.keys("ledger/tune/") == []
    holds(str(tmp_path), wanted)


def test_a_retried_failure_counts_after_compaction_too(storage: str) -> None:
    ledger = Ledger(storage)
    trial = cell().trial("tune", 0, {})
    ledger.commit(record(trial, 1.0, "failed"), "tune")
    committed(ledger, 2, start=1)
    ledger.compact("tune")
    assert ledger.commit(record(trial, 2.0, attempt=1), "tune")
    assert not ledger.commit(record(trial, 1.0, "failed"), "tune")
    for number in (10, 11):
        found = ledger.find(trial.id, "tune")
        assert found is not None
        assert (found.status, found.attempt) == ("completed", 1)
        rows = {row["trial_id"]: row["attempt"] for row in ledger.read("tune").to_pylist()}
        assert rows[trial.id] == 1
        committed(ledger, 1, start=number)
        ledger.compact("tune")


class Watched:
    """A store that lets something happen before its n-th call."""

    def __init__(self, inner: Store, at: int, act: Callable[[], None]) -> None:
        self._inner, self._at, self._act = inner, at, act
        self.calls = 0
        self.uri = inner.uri

    def __getattr__(self, name: str) -> object:
        call = getattr(self._inner, name)

        def counted(*args: object) -> object:
            self.calls += 1
            if self.calls == self._at:
                self._act()
            return call(*args)

        return counted


class Killed(BaseException):
    """The process is gone."""


def moments(folder: Path, act: Callable[[Ledger], None]) -> Iterator[tuple[LocalStore, list[Record]]]:
    """Ledgers whose compaction was met by `act` at its first call, its second, and so on."""
    at, met = 0, True
    while met:
        at += 1
        store = LocalStore(folder / str(at))
        wanted = committed(Ledger(store), 3)
        happened: list[int] = []

        def now(store: LocalStore = store, happened: list[int] = happened) -> None:
            happened.append(1)
            act(Ledger(store))

        watched = Watched(store, at, now)
        try:
            Ledger(watched).compact("tune")  # type: ignore[arg-type]
        except Killed:
            holds(store, wanted)
            assert not Ledger(store).commit(replace(wanted[0], wall_s=99.0), "tune")
        met = bool(happened)
        yield store, wanted
    assert at > 8


def test_a_compactor_that_is_killed_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    def killed(ledger: Ledger) -> None:
        raise Killed

    for store, wanted in moments(tmp_path, killed):
        holds(store, wanted)
        Ledger(store).compact("tune")
        assert store.keys("ledger/tune/") == []
        holds(store, wanted)


def test_two_compactors_at_once_make_one_sequence(tmp_path: Path) -> None:
    for store, wanted in moments(tmp_path, lambda ledger: ledger.compact("tune")):  # type: ignore[arg-type, return-value]
        holds(store, wanted)
        assert store.keys("ledger/tune/") == []
        segments = Ledger(store).segments("tune")
        assert len(segments) == 3
        assert sum(len(table) for table in segments.tables()) == 3


def test_whoever_writes_again_during_a_compaction_does_not_count(tmp_path: Path) -> None:
    def again(ledger: Ledger) -> None:
        for number in range(3):
            late = record(cell().trial("tune", number, {}), float(number), wall_s=99.0)
            assert not ledger.commit(late, "tune")

    for store, wanted in moments(tmp_path, again):
        holds(store, wanted)


@pytest.mark.parametrize("earlier", [True, False])
def test_a_record_that_another_writes_and_compacts_at_any_moment_of_a_commit_counts_once(
    tmp_path: Path, earlier: bool
) -> None:
    trial, at, met = cell().trial("tune", 0, {}), 0, True
    mine, theirs = record(trial, 1.0, wall_s=1.0), record(trial, 1.0, wall_s=2.0)
    while met:
        at += 1
        store = LocalStore(tmp_path / str(at))
        others = committed(Ledger(store), 2, start=1)
        won = [Ledger(store).commit(theirs, "tune")] if earlier else []
        compacted: list[int] = []

        def now(store: LocalStore = store, won: list[bool] = won, compacted: list[int] = compacted) -> None:
            if not earlier:
                won.append(Ledger(store).commit(theirs, "tune"))
            compacted.append(Ledger(store).compact("tune"))

        second = Ledger(Watched(store, at, now)).commit(mine, "tune")  # type: ignore[arg-type]
        met = bool(compacted)
        assert [*won, second].count(True) == 1
        holds(store, [mine if second else theirs, *others])
        assert len(store.keys("ledger/tune/")) + len(Ledger(store).segments("tune")) == 3, "no further attempt"
    assert at > 3


def test_what_is_committed_during_a_compaction_is_kept(tmp_path: Path) -> None:
    def more(ledger: Ledger) -> None:
        committed(ledger, 2, start=3)

    *rounds, last = moments(tmp_path, more)
    for store, _ in rounds:
        assert sorted(Ledger(store).read("tune")["number"].to_pylist()) == [0, 1, 2, 3, 4]
    holds(*last)


def test_who_reads_while_another_compacts_sees_everything(tmp_path: Path) -> None:
    at, met = 0, True
    while met:
        at += 1
        store = LocalStore(tmp_path / str(at))
        wanted = committed(Ledger(store), 3)
        happened: list[int] = []

        def now(store: LocalStore = store, happened: list[int] = happened) -> None:
            happened.append(Ledger(store).compact("tune"))

        reader = Ledger(Watched(store, at, now))  # type: ignore[arg-type]
        assert sorted(reader.read("tune")["number"].to_pylist()) == [0, 1, 2]
        assert [reader.find(one.trial_id, "tune") for one in wanted] == wanted
        met = bool(happened)
    assert at > 4


def test_a_record_that_cannot_be_read_stays_where_it_is_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(str(tmp_path))
    wanted = committed(ledger, 3)
    ledger.store.put("ledger/tune/abc.0.parquet", b"not parquet")
    assert ledger.compact("tune") == 3
    assert ledger.store.keys("ledger/tune/") == ["ledger/tune/abc.0.parquet"]
    assert "ledger/tune/abc.0.parquet in the ledger cannot be read" in caplog.text
    assert len(Ledger(str(tmp_path)).read("tune")) == 3
    assert Ledger(str(tmp_path)).find(wanted[0].trial_id, "tune") == wanted[0]


def test_a_segment_is_written_and_asked_for_cell_by_cell(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    for number in range(3):
        for recipe in ("l1", "l1 + lds"):
            ledger.commit(record(cell(recipe).trial("tune", number, {}), 1.0), "tune")
    ledger.compact("tune")
    (table,) = ledger.segments("tune").tables(["recipe", "number"])
    rows = [(row["recipe"], row["number"]) for row in table.to_pylist()]
    assert rows == [("l1", 0), ("l1", 1), ("l1", 2), ("l1 + lds", 0), ("l1 + lds", 1), ("l1 + lds", 2)]


def test_a_planner_on_a_compacted_ledger_asks_the_storage_once(tmp_path: Path) -> None:
    wanted = committed(Ledger(str(tmp_path)), 10)
    Ledger(str(tmp_path)).compact("tune")
    watched = Watched(LocalStore(tmp_path), 0, lambda: None)
    reader = Ledger(watched)  # type: ignore[arg-type]
    assert [reader.find(one.trial_id, "tune") for one in wanted] == wanted
    assert watched.calls == 3, "the list of segments, their ids, their rows"


WRITER = """
import sys
from builders import cell, record
from orchestrator.ledger.ledger import Ledger
storage, writer = sys.argv[1], int(sys.argv[2])
ledger, won = Ledger(storage), 0
for number in range(20):
    won += ledger.commit(record(cell().trial("tune", number, {}), float(number), wall_s=float(writer)), "tune")
    if number % 7 == writer:
        ledger.compact("tune")
print(won)
"""


@pytest.mark.slow
def test_processes_that_commit_the_same_trials_and_compact_agree_on_one_record_each(storage: str) -> None:
    command = [sys.executable, "-c", WRITER, storage]
    tests = Path(builders.__file__).parent
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tests.parent), str(tests)))}
    processes = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True, env=paths) for n in range(3)]
    won = [int(process.communicate(timeout=HUNG_S)[0]) for process in processes]
    assert sum(won) == 20
    table = Ledger(storage).read("tune")
    assert sorted(table["number"].to_pylist()) == list(range(20))
    walls = table["wall_s"].to_pylist()
    assert [walls.count(float(writer)) for writer in range(3)] == won
    rows = sum(len(part) for part in Ledger(storage).segments("tune").tables())
    assert rows + len([a for a in Ledger(storage).loose("tune") if a not in Ledger(storage).segments("tune")]) == 20


def test_a_sweep_compacts_when_there_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(open_store(str(tmp_path)))
    committed(ledger, 4)
    assert ledger.tidy() == 0
    monkeypatch.setattr("orchestrator.ledger.ledger.MANY", 4)
    assert ledger.tidy() == 4
