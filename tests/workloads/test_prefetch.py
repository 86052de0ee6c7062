"""Batches that a thread reads ahead: the same, in the same order, and its errors are those of the loop."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toys import DENSE, TOYS
from workloads.cache import CachedSplit, Source, Transform, decoded
from workloads.loop import Fit
from workloads.prefetch import DEPTH, Read, ahead
from workloads.recipe import Recipe
from workloads.training import settle
from workloads.workload import Data, Table

CPU = torch.device("cpu")
BATCHES = list(torch.arange(20).split(3))


def test_batches_come_in_order_with_what_was_read_of_them() -> None:
    for worth in (False, True):
        found = list(ahead(lambda rows: (2 * rows,), BATCHES, CPU, worth))
        assert len(found) == len(BATCHES)
        assert all(
            rows is batch and torch.equal(x, 2 * batch) for (rows, (x,)), batch in zip(found, BATCHES, strict=True)
        )


def test_no_more_is_read_than_a_few_batches_ahead_and_by_another_thread() -> None:
    read: list[int] = []
    threads: set[str] = set()

    def slow(rows: Tensor) -> Read:
        read.append(int(rows[0]))
        threads.add(threading.current_thread().name)
        return (rows,)

    for number, _ in enumerate(ahead(slow, BATCHES, CPU, worth=True)):
        assert len(read) <= number + 1 + DEPTH
    assert read == [int(batch[0]) for batch in BATCHES]
    assert threads == {"prefetch_0"}


def test_an_error_of_reading_is_raised_where_the_batch_is_asked_for() -> None:
    def broken(rows: Tensor) -> Read:
        if rows[0] == 6:
            raise OSError("the disk is gone")
        return (rows,)

    batches = ahead(broken, BATCHES, CPU, worth=True)
    assert [int(rows[0]) for rows, _ in (next(batches), next(batches))] == [0, 3]
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)
    assert "prefetch_0" not in {thread.name for thread in threading.enumerate()}


def test_a_loop_that_ends_early_leaves_no_thread() -> None:
    batches: Iterator[tuple[Tensor, Read]] = ahead(lambda rows: (rows,), BATCHES, CPU, worth=True)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert "prefetch_0" not in {thread.name for thread in threading.enumerate()}


def cached(folder: Path, ahead_of_time: bool) -> Data:
    """The toy's rows in a cache on the disk."""
    toy = TOYS["regression"].load(None)
    folder.mkdir(exist_ok=True)

    def split(name: str, table: Table) -> CachedSplit:
        x = table.inputs(torch.arange(len(table.y)), CPU).numpy()
        sources = []
        for row, values in enumerate(x):
            path = folder / f"{name}-{row}.bin"
            path.write_bytes(values.tobytes())
            sources.append(Source(path, path.name))
        rows = decoded(
            sources,
            Transform("floats", x.shape[1:], lambda content, _: np.frombuffer(content, np.float32), "float32"),
            folder / "cache",
        )
        made = CachedSplit(rows, torch.arange(len(x)), table.y)
        made.read_ahead = ahead_of_time
        return made

    parts = (split(name, getattr(toy, name)) for name in ("train", "val", "test"))
    return Data(*parts, toy.units, "cached")  # type: ignore[arg-type]


@pytest.mark.parametrize("recipe", ["l1", "l1 + fds + ranksim", "l1 + smogn + affine_oof + rrt"])
def test_a_run_that_reads_ahead_equals_one_that_does_not_bit_for_bit(tmp_path: Path, recipe: str) -> None:
    ends = []
    for ahead_of_time in (False, True):
        toy = replace(TOYS["regression"], augment=lambda x: x + 0.1 * torch.randn_like(x))  # from torch's own stream
        parsed = Recipe.parse(recipe)
        settings = {"train.epochs": 4, "fds.variant": "official"} if "fds" in recipe else {"train.epochs": 4}
        run = Fit(toy, cached(tmp_path, ahead_of_time), parsed, settle(parsed, toy.settings, settings), 0, CPU)
        assert run.train.read_ahead == ahead_of_time
        losses = [epoch.loss for epoch in run]
        ends.append((losses, torch.cat([p.flatten() for p in run.model.parameters()])))
    assert ends[0][0] == ends[1][0]
    assert torch.equal(ends[0][1], ends[1][1])


def test_maps_are_read_ahead_with_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    toy, losses = DENSE["regression"], []
    parsed = Recipe.parse("l1 + fds")
    for worth in (True, False):
        data = toy.load(None)
        monkeypatch.setattr(type(data.train), "read_ahead", worth)
        run = Fit(toy, data, parsed, settle(parsed, toy.settings, {"train.epochs": 2}), 0, CPU)
        losses.append([epoch.loss for epoch in run])
    assert losses[0] == losses[1]


def test_a_table_is_not_read_by_a_thread() -> None:
    toy, parsed = TOYS["regression"], Recipe("l1")
    run = Fit(toy, toy.load(None), parsed, settle(parsed, toy.settings), 0, CPU)
    assert not run.train.read_ahead
    assert isinstance(run.model.encoder, nn.Module)
