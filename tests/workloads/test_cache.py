"""Rows are decoded once, by one process, and a cache that is not whole is never read."""

import errno
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import pytest
import torch

import cached
from workloads.cache import (
    ROWS_PER_BATCH,
    Bytes,
    CachedSplit,
    Source,
    Transform,
    decoded,
    default_folder,
    once,
    telling,
)
from workloads.data.pixels import count_pixels
from workloads.labels import LabelGrid
from workloads.workload import DataError

SMALL = Transform("t", (2, 3), cached.filled)


@pytest.fixture(scope="module")
def processes():
    """New processes that have imported torch already, and hold nothing of this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cached"])
    return context


def refuse(content: bytes, source: Source):
    raise AssertionError("decoded again")


@pytest.mark.parametrize("count", [1, ROWS_PER_BATCH, 2 * ROWS_PER_BATCH + 5])
def test_rows_come_back_in_any_order_as_they_were_decoded(tmp_path: Path, count: int):
    sources = cached.write_sources(tmp_path / "in", count)
    seen = []
    with telling(lambda done, of: seen.append((done, of))):
        rows = decoded(sources, SMALL, tmp_path / "cache")
    index = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    assert len(rows) == count
    assert torch.equal(rows.read(index), (index % 251).to(torch.uint8).view(-1, 1, 1).expand(-1, 2, 3))
    assert seen[-1] == (count, count)


def test_rows_may_be_numbers_of_any_kind_and_large_ones_are_built_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("workloads.cache.BATCH_BYTES", 60)
    halves = Transform("halves", (2, 3), lambda content, source: cached.filled(content, source) / 2, "float32")
    assert halves.rows_per_batch == 2
    rows = decoded(cached.write_sources(tmp_path / "in", 7), halves, tmp_path / "cache")
    assert rows.read(torch.tensor([6, 3]))[:, 1, 2].tolist() == [3.0, 1.5]


def test_the_second_call_decodes_nothing(tmp_path: Path):
    sources = cached.write_sources(tmp_path / "in", 70)
    first = decoded(sources, SMALL, tmp_path / "cache")
    again = decoded(sources, Transform("t", (2, 3), refuse), tmp_path / "cache")
    assert again.digest == first.digest
    assert torch.equal(again.read(torch.arange(70)), first.read(torch.arange(70)))


def test_another_transform_or_a_changed_source_is_decoded_again(tmp_path: Path):
    sources, cache = cached.write_sources(tmp_path / "in", 5), tmp_path / "cache"
    first = decoded(sources, SMALL, cache)
    decoded(sources, Transform("other", (2, 3), cached.filled), cache)
    wider = decoded(sources, Transform("t", (4, 3), partial(cached.filled, shape=(4, 3))), cache)
    assert wider.shape == (4, 3)
    assert wider.digest == first.digest  # of the files, whatever is made of them
    sources[3].path.write_bytes(bytes([77, 0]))
    os.utime(sources[3].path, ns=(0, 0))  # the same size: time alone tells
    changed = decoded(sources, SMALL, cache)
    assert changed.read(torch.tensor([3]))[0, 0, 0] == 77
    assert changed.digest != first.digest
    assert len(list(cache.glob("*.arrow"))) == 4


def test_the_digest_does_not_depend_on_where_the_files_lie(tmp_path: Path):
    digests = {
        decoded(cached.write_sources(tmp_path / place, 9), SMALL, tmp_path / "cache").digest for place in ("a", "b")
    }
    assert len(digests) == 1


def test_missing_and_broken_files_are_reported_together_and_nothing_is_kept(tmp_path: Path):
    sources, cache = cached.write_sources(tmp_path / "in", 200), tmp_path / "cache"
    sources[7].path.write_bytes(b"")
    sources[150].path.write_bytes(b"too long")
    with pytest.raises(DataError) as broken:
        decoded(sources, SMALL, cache)
    assert [problem.split(" ")[0] for problem in broken.value.problems] == ["list.csv:9:", "list.csv:152:"]
    sources[100].path.unlink()
    with pytest.raises(DataError) as both:
        decoded(sources, SMALL, cache)
    assert [problem.split(" ")[0] for problem in both.value.problems] == [
        "list.csv:9:",
        "list.csv:102:",
        "list.csv:152:",
    ]
    assert "100.raw is missing" in both.value.problems[1]
    assert [path.suffix for path in cache.iterdir()] in ([], [".lock"])


def test_files_that_change_while_they_are_read_are_not_kept(tmp_path: Path):
    sources = cached.write_sources(tmp_path / "in", 3)

    def changing(content: bytes, source: Source):
        if source is sources[0]:  # whose content has been read by now
            source.path.write_bytes(b"longer than before")
        return cached.filled(content, source)

    with pytest.raises(DataError, match="changed while"):
        decoded(sources, Transform("t", (2, 3), changing), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.arrow"))


@pytest.mark.parametrize("left", [0, 10, 400])
def test_a_damaged_cache_is_built_again(tmp_path: Path, left: int):
    sources = cached.write_sources(tmp_path / "in", 70)
    decoded(sources, SMALL, tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*.arrow")
    whole = path.read_bytes()
    path.write_bytes(whole[:left])
    assert len(decoded(sources, SMALL, tmp_path / "cache")) == 70
    assert path.read_bytes() == whole


def test_a_disk_that_is_too_small_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("workloads.cache.shutil.disk_usage", lambda path: SimpleNamespace(free=5))
    with pytest.raises(DataError, match="set TAILSWEEP_CACHE"):
        decoded(cached.write_sources(tmp_path / "in", 3), SMALL, tmp_path / "cache")


def test_many_processes_ask_at_once_and_one_builds(tmp_path: Path, processes):
    sources = cached.write_sources(tmp_path / "in", 150)
    notes = tmp_path / "notes"
    asking = [
        processes.Process(target=cached.build_and_note, args=(sources, str(tmp_path / "cache"), str(notes)))
        for _ in range(8)
    ]
    for process in asking:
        process.start()
    for process in asking:
        process.join(60)
    assert [process.exitcode for process in asking] == [0] * 8
    builders = Counter(line.split()[0] for line in notes.read_text().splitlines())
    assert list(builders.values()) == [150]


def test_a_builder_that_is_killed_leaves_nothing_that_is_read(tmp_path: Path, processes):
    sources, cache = cached.write_sources(tmp_path / "in", 3 * ROWS_PER_BATCH), tmp_path / "cache"
    builder = processes.Process(target=cached.build_and_hang, args=(sources, str(cache), str(tmp_path / "hanging")))
    builder.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "hanging").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert builder.pid is not None
    os.kill(builder.pid, signal.SIGKILL)
    builder.join(60)
    assert sorted(path.suffix for path in cache.iterdir()) == [".lock", ".tmp"]
    rows = decoded(sources, SMALL, cache)
    assert rows.read(torch.arange(len(sources)))[:, 1, 2].tolist() == list(range(len(sources)))
    assert not list(cache.glob("*.tmp"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_a_reader_holds_little_of_a_large_cache(tmp_path: Path, processes):
    sources, cache = cached.write_sources(tmp_path / "in", 1600), tmp_path / "cache"
    decoded(sources, Transform("big", cached.SHAPE, partial(cached.filled, shape=cached.SHAPE)), cache)
    assert sum(path.stat().st_size for path in cache.glob("*.arrow")) > 240e6
    reader = processes.Process(target=cached.read_all, args=(sources, str(cache), str(tmp_path / "memory")))
    reader.start()
    reader.join(60)
    resident, private = map(int, (tmp_path / "memory").read_text().split())
    # Some 20 MB, two batches of 64 rows, and 100 MB; what an allocator keeps of freed batches varies.
    assert private < 80e6
    assert resident < 180e6


def test_a_split_maps_its_rows_to_those_of_the_cache(tmp_path: Path):
    rows = decoded(cached.write_sources(tmp_path / "in", 10), SMALL, tmp_path / "cache")
    split = CachedSplit(rows, torch.tensor([7, 2, 2, 9]), torch.arange(4.0))
    x = split.inputs(torch.tensor([3, 1, 2]), torch.device("cpu"))
    assert x[:, 0, 0].tolist() == [9, 2, 2]
    assert x.dtype == torch.uint8


def test_the_folder_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TAILSWEEP_CACHE", "~/elsewhere")
    assert default_folder() == Path.home() / "elsewhere"
    monkeypatch.delenv("TAILSWEEP_CACHE")
    assert default_folder() == Path.home() / ".cache" / "tailsweep"


def test_a_source_that_cannot_be_read_is_a_problem_of_the_data(tmp_path: Path):
    source = Source(tmp_path, "folder", "list.csv:2")
    with pytest.raises(DataError, match=r"list\.csv:2: .* does not decode"):
        decoded([source], SMALL, tmp_path / "cache")


@pytest.mark.parametrize("place", ["/proc/nope", "/dev/null/x", "file"])
def test_a_folder_that_cannot_be_made_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder = tmp_path / place
    if place == "file":
        folder.write_text("no folder")
    monkeypatch.setenv("TAILSWEEP_CACHE", str(folder))
    grid = LabelGrid(0.0, 1.0, 1)
    for ask in (
        lambda: decoded(cached.write_sources(tmp_path / "sources", 2), Transform("t", (2, 3), cached.filled)),
        lambda: count_pixels(lambda rows, device: torch.zeros(len(rows), 2, 2), torch.arange(2), grid, "key"),
    ):
        with pytest.raises(DataError, match=r"cannot be made or written .*: set TAILSWEEP_CACHE to a folder") as caught:
            ask()
        assert str(folder) in str(caught.value)


def test_without_a_home_the_folder_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILSWEEP_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(DataError, match=r"prepared data have no folder .* set TAILSWEEP_CACHE to one"):
        default_folder()


def test_a_full_disk_is_named_with_the_way_out(tmp_path: Path) -> None:
    def full(stream: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DataError, match=r"No space left on device.*: set TAILSWEEP_CACHE"):
        once(tmp_path / "a.bin", lambda path: None, full)
    assert list(tmp_path.glob("*.tmp")) == []


def test_whatever_a_decoder_raises_is_a_problem_of_the_file(tmp_path: Path) -> None:
    for error in (KeyError("x"), RuntimeError("no\x1b[31m"), IndexError(), ZeroDivisionError("by zero")):

        def fails(content: bytes, source: Source, error: Exception = error) -> Bytes:
            raise error

        with pytest.raises(DataError, match=r"list\.csv:2: .*0\.raw does not decode: [ -~]+$"):
            decoded(cached.write_sources(tmp_path, 1), Transform("fails", (2, 3), fails), tmp_path / "cache")
