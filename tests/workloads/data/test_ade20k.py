"""ADE20K from files in the official layout."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dense import Floating
from training import fit
from workloads import WORKLOADS
from workloads.data import ade20k
from workloads.data.ade20k import GRID, load
from workloads.encoders.dense import small_maps
from workloads.metrics import shot_metrics
from workloads.workload import DataError, Maps

CPU = torch.device("cpu")


WORKLOAD = replace(
    WORKLOADS["ade20k"],
    load=partial(load, 32),
    encoder=lambda data: (torch.nn.Sequential(Floating(), small_maps(3, 8)[0]), 8),
)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode into a folder of these tests."""
    monkeypatch.setenv("TAILSWEEP_CACHE", str(tmp_path_factory.getbasetemp() / "ade20k-cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    ade20k.fixture(tmp_path)
    return tmp_path


def test_a_fixture_loads_with_its_classes_and_holes(root: Path) -> None:
    data = WORKLOAD.load(root)
    assert isinstance(data.train, Maps) and isinstance(data.val, Maps) and isinstance(data.test, Maps)
    assert (data.train.rows, data.val.rows, data.test.rows) == (23, 1, 6)
    labels = data.train.maps(torch.arange(23), CPU)
    assert labels.shape == (23, 16, 16)
    assert labels.isnan().any()
    counts = WORKLOAD.bin_counts(data)
    assert counts.tolist() == GRID.counts(labels[~labels.isnan()].numpy()).tolist()
    assert (counts[:7] > 0).all() and not counts[7:].any()
    found = data.test.maps(torch.arange(6), CPU).flatten()
    assert torch.equal(found[data.test.at], data.test.y)
    x = data.test.inputs(torch.tensor([1]), CPU)
    assert (x.shape, x.dtype) == ((1, 3, 32, 32), torch.uint8)


@pytest.mark.parametrize("recipe", ["arb", "cross_entropy + lds + fds", "arb + sqinv + rrt"])
def test_a_fixture_trains_and_scores_in_every_region(recipe: str, root: Path) -> None:
    data = WORKLOAD.load(root)
    run = fit(WORKLOAD, data, recipe, {"train.epochs": 2, "train.batch_size": 6})
    assert all(np.isfinite(epoch.loss) for epoch in run)
    where = WORKLOAD.regions(data, data.test)
    scores = shot_metrics(run.predict(data.test), data.test.y.numpy(), where, WORKLOAD.metrics)
    for region in ("all", "many", "medium", "few"):
        values = [scores[region][metric].value for metric in WORKLOAD.metrics]
        assert all(value is not None and 0 <= value <= 1 for value in values), region


def test_all_that_is_wrong_with_the_files_is_told_with_their_names(root: Path) -> None:
    folder = root / "ade20k" / "ADEChallengeData2016"
    annotations = folder / "annotations"
    with pytest.raises(DataError, match=r"is missing; get ADEChallengeData2016\.zip"):
        WORKLOAD.load(root / "elsewhere")
    Image.fromarray(np.full((24, 24), 151, np.uint8)).save(annotations / "validation" / "ADE_val_00000002.png")
    Image.fromarray(np.zeros((24, 24), np.uint8)).save(annotations / "training" / "ADE_train_00000004.png")
    (folder / "images" / "training" / "ADE_train_00000005.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        WORKLOAD.load(root)
    told = sorted(problem.rpartition("/")[2].split(" (")[0] for problem in caught.value.problems)
    assert told == [
        "ADE_train_00000004.png does not decode: no pixel has a class",
        "ADE_train_00000005.jpg does not decode: not an image of a known kind",
        "ADE_val_00000002.png does not decode: classes are 0 … 150: got 151",
    ]
    (annotations / "training" / "ADE_train_00000001.png").unlink()
    for path in (folder / "images" / "validation").iterdir():
        path.unlink()
    with pytest.raises(DataError) as caught:
        WORKLOAD.load(root)
    first, second = caught.value.problems
    assert "ADE_train_00000001.jpg has no annotation" in first
    assert f"{folder / 'images' / 'validation'} has no .jpg files" in second
