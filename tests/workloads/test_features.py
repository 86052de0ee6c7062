"""Features of the training set: whole or in chunks, the same numbers, and never more of them than fit."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from workloads import features
from workloads.features import Encoded
from workloads.labels import LabelGrid
from workloads.methods.fds import FDS, bucket_statistics, pooled
from workloads.seam import TrainLabels

GRID = LabelGrid(0, 30, 30)
ROWS, DIM = 300, 7


def labels() -> Tensor:
    return (30 * torch.rand(ROWS, generator=torch.Generator().manual_seed(0)) ** 3).floor()


def table() -> Tensor:
    return torch.randn(ROWS, DIM, generator=torch.Generator().manual_seed(1)) + 0.3 * labels().unsqueeze(1)


def shuffled(train_mode: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """The table in batches of 16, out of order in training mode."""
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(2)) if train_mode else torch.arange(ROWS)
    for rows in order.split(16):
        places = rows.sort().values
        yield places, table()[places] + train_mode


@pytest.mark.parametrize("train_mode", [False, True])
def test_the_whole_is_in_the_order_of_the_table(train_mode: bool) -> None:
    z, y = Encoded(labels(), shuffled)(train_mode)
    assert torch.equal(z, table() + train_mode) and torch.equal(y, labels())


@pytest.mark.parametrize("train_mode", [False, True])
def test_a_small_set_is_one_chunk_which_who_asks_next_is_given(train_mode: bool) -> None:
    asked = Encoded(labels(), shuffled)
    ((places, z),) = asked.chunks(train_mode)
    assert torch.equal(places, torch.arange(ROWS)) and torch.equal(z, table() + train_mode)
    assert asked(train_mode)[0] is z
    assert next(asked.chunks(train_mode))[1] is z


@pytest.mark.parametrize("train_mode", [False, True])
def test_chunks_hold_every_sample_once_and_no_more_values_than_they_may(
    train_mode: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "CHUNK_VALUES", 40 * DIM)
    chunks = list(Encoded(labels(), shuffled).chunks(train_mode))
    assert len(chunks) > 5 and all(z.numel() <= 40 * DIM for _, z in chunks)
    places = torch.cat([at for at, _ in chunks])
    assert torch.equal(places.sort().values, torch.arange(ROWS))
    assert torch.equal(torch.cat([z for _, z in chunks]), table()[places] + train_mode)
    assert all(torch.equal(at, at.sort().values) for at, _ in chunks)


def test_statistics_of_two_sets_are_those_of_both_together() -> None:
    z, bucket = table().double() + 1000.0, labels().long()
    parts = [bucket_statistics(z[rows], bucket[rows], 30) for rows in torch.arange(ROWS).split(90)]
    found = parts[0]
    for part in parts[1:]:
        found = pooled(found, part)
    for one, other in zip(found, bucket_statistics(z, bucket, 30), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "settings", [{}, {"variant": "official"}, {"variant": "official", "first_bin": 2, "last_bin": 11}]
)
def test_fds_has_the_same_statistics_from_chunks(settings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for values in (features.CHUNK_VALUES, 40 * DIM):
        monkeypatch.setattr(features, "CHUNK_VALUES", values)
        fds = FDS(FDS.Hparams(**settings))  # type: ignore[arg-type]
        fds.fit(TrainLabels(labels(), GRID, DIM, 16))
        for epoch in range(3):
            fds.end_epoch(epoch, Encoded(labels() + epoch % 2, shuffled))
        made.append(dict(fds.named_buffers()))
    whole, chunked = made
    assert not torch.equal(whole["scale"], torch.ones_like(whole["scale"]))
    assert all(torch.allclose(whole[name], chunked[name], rtol=1e-4, atol=1e-5) for name in whole)


LARGE = """
import torch
from orchestrator.engine.memory import Peak
from workloads.features import Encoded
from workloads.labels import LabelGrid
from workloads.methods.fds import FDS
from workloads.seam import TrainLabels

N, D = 191_509, 2048
y = (100 * torch.rand(N)).floor()

def batches(train_mode):
    for rows in torch.arange(N).split(1024):
        yield rows, y[rows].unsqueeze(1) + torch.rand(len(rows), D)

fds = FDS(FDS.Hparams())
fds.fit(TrainLabels(y, LabelGrid(0, 121, 121), D, 256))
peak = Peak(torch.device("cpu"))
fds.end_epoch(0, Encoded(y, batches))
taken = peak.taken()["memory_mb"]
assert (fds.mean.mean(1)[:100] - torch.arange(100) - 0.5).abs().max() < 0.01
assert taken < 2000, taken
"""


@pytest.mark.slow
def test_statistics_of_imdb_wiki_dirs_size_take_less_than_two_gigabytes() -> None:
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
