"""Depth of the tiles of one scene, from an installed package."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from training import fit
from workloads import WORKLOADS
from workloads.data import stereo
from workloads.metrics import shot_metrics
from workloads.workload import DataError, Maps

WORKLOAD = WORKLOADS["stereo-depth"]
CPU = torch.device("cpu")


def test_depth_follows_from_the_disparity_and_most_pixels_have_one() -> None:
    image, depth = stereo.read(stereo._folder())
    with np.load(stereo._folder() / stereo.DISPARITY) as file:
        disparity = file["arr_0"]
    assert image.shape == (3, 500, 741)
    assert (np.isnan(depth) == ~np.isfinite(disparity)).all()
    assert 0.92 < float(np.isfinite(depth).mean()) < 0.94
    row, column = np.argwhere(np.isfinite(disparity))[1234]
    assert math.isclose(depth[row, column], 994.978 * 0.193001 / (disparity[row, column] + 31.086), rel_tol=1e-6)
    assert round(float(np.nanmin(depth)), 2) == 2.11
    assert round(float(np.nanmax(depth)), 2) == 5.02


def test_every_tile_is_in_one_split_and_every_region_has_pixels() -> None:
    data = WORKLOAD.load(None)
    tiles = [part.inputs(torch.arange(part.rows), CPU) for part in (data.train, data.val, data.test)]  # type: ignore[attr-defined]
    places = {tuple(tile[3:, 0, 0].tolist()) for part in tiles for tile in part}
    assert len(places) == sum(map(len, tiles)) == 600
    for split in (data.train, data.val, data.test):
        assert isinstance(split, Maps)
        assert {0, 1, 2} <= set(WORKLOAD.regions(data, split).tolist())
        assert split.counts is not None and split.counts.sum() == len(split.y)
    assert data.fingerprint == WORKLOAD.load(None).fingerprint


@pytest.mark.parametrize("recipe", ["l1 + lds + fds + distloss", "bmse + inv + rrt"])
def test_it_trains_and_scores_in_every_region(recipe: str) -> None:
    data = WORKLOAD.load(None)
    run = fit(WORKLOAD, data, recipe, {"train.epochs": 2})
    losses = [epoch.loss for epoch in run]
    assert all(map(math.isfinite, losses))
    y = data.test.y.numpy()
    found = shot_metrics(run.predict(data.test), y, WORKLOAD.regions(data, data.test), WORKLOAD.metrics)
    assert all(score.value is not None for r in ("all", "many", "medium", "few") for score in found[r].values())


def test_a_short_run_beats_the_median_depth_by_far() -> None:
    data = WORKLOAD.load(None)
    run = fit(WORKLOAD, data, "l1", {"train.epochs": 4})
    list(run)
    floor = float((data.test.y - data.train.y.median()).abs().mean())
    assert float(np.abs(run.predict(data.test) - data.test.y.numpy()).mean()) < 0.6 * floor


def test_all_that_is_wrong_with_the_files_is_told_with_their_names(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        stereo.load(None, tmp_path)
    assert [problem.split(" must ")[0] for problem in caught.value.problems] == [
        str(tmp_path / stereo.IMAGE),
        str(tmp_path / stereo.DISPARITY),
    ]
    shutil.copy(stereo._folder() / stereo.IMAGE, tmp_path)
    np.savez(tmp_path / stereo.DISPARITY, np.zeros((3, 4), np.float32))
    with pytest.raises(DataError, match=r"got \(3, 4\) and \(500, 741\)"):
        stereo.load(None, tmp_path)
    np.savez(tmp_path / stereo.DISPARITY, np.full((500, 741), 1000.0, np.float32))
    with pytest.raises(DataError, match=r"depths must lie in 2.1 … 5.1 m: got 0.18.* in row 0, column 0"):
        stereo.load(None, tmp_path)
