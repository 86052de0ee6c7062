"""The benchmark of the cache compares like with like; nothing is timed here."""

from pathlib import Path

import pytest
import torch
from torch import nn

from bench import data as bench_data
from workloads.cache import decoded
from workloads.data.images import resized
from workloads.encoders.images import Scale


def test_loading_is_compared_with_decoding_and_with_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def tiny():
        return nn.Sequential(Scale(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)), 2

    monkeypatch.setattr(bench_data, "IMAGES", 10)
    monkeypatch.setattr(bench_data, "resnet50", tiny)
    (afresh,) = bench_data.reading(tmp_path, 10)
    assert afresh.at_least_ratio == 10.0
    load, augment = bench_data.loading(tmp_path)
    assert load.at_most_share == augment.at_most_share == 0.05
    assert load.rival_s == augment.rival_s


def test_the_cache_holds_the_pixels_that_decoding_gives(tmp_path: Path):
    sources, transform = bench_data.write_images(tmp_path, 3), resized(224)
    cached = decoded(sources, transform, tmp_path / "cache").read(torch.arange(3))
    for row, source in zip(cached, sources, strict=True):
        assert torch.equal(row, torch.from_numpy(transform.decode(source.path.read_bytes(), source)))
