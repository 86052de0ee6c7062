"""What `tailsweep data preview` shows of data of every kind."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from orchestrator.catalogue.preview import SHOWN, preview, samples
from orchestrator.errors import BadInput
from workloads import WORKLOADS
from workloads.labels import REGIONS
from workloads.workload import Data, Maps

pytestmark = pytest.mark.usefixtures("cache")


def load(name: str, root: Path) -> Data:
    workload = WORKLOADS[name]
    if workload.fixture is not None:
        workload.fixture(root)
    return workload.load(root)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sts-b-dir", "The girl isn't running. | A dog said 1,000 words."),
        ("sst5", "awful "),
        ("agedb-dir", ".jpg"),
        ("places-lt", ".jpg"),
        ("modelnet10", ".off"),
        ("ecg-k-dir", "r104"),
        ("vader-valence", "aaa"),
    ],
)
def test_every_region_is_shown_by_some_of_its_rows_in_words(name: str, words: str, tmp_path: Path) -> None:
    data = load(name, tmp_path)
    where = WORKLOADS[name].regions(data, data.train)
    found = samples(WORKLOADS[name], data)
    for place, region in enumerate(REGIONS):
        rows = [sample.row for sample in found if sample.region == region]
        assert len(rows) == len(set(rows)) == min(SHOWN, int((where == place).sum()))
        assert (where[rows] == place).all()
    assert all(sample.words for sample in found)
    assert any(words in sample.words for sample in found), [str(sample) for sample in found]
    assert all(torch.equal(s.x, data.train.inputs(torch.tensor([s.row]), torch.device("cpu"))[0]) for s in found)


def test_rows_without_words_are_shown_in_numbers(tmp_path: Path) -> None:
    first = str(samples(WORKLOADS["nhanes-sbp"], load("nhanes-sbp", tmp_path))[0])
    assert first.startswith("many    row ")
    assert first.endswith("…] (85)")


def test_pixels_are_shown_of_different_images_and_where_they_lie(tmp_path: Path) -> None:
    data = load("stereo-depth", tmp_path)
    train = data.train
    assert isinstance(train, Maps)
    maps = train.maps(torch.arange(train.rows), torch.device("cpu"))
    found = samples(WORKLOADS["stereo-depth"], data)
    for region in REGIONS[:3]:
        rows = [sample.row for sample in found if sample.region == region]
        assert len(rows) == len(set(rows)) == SHOWN
    for sample in found:
        assert sample.pixel is not None
        down, right = (int(share * side) for share, side in zip(sample.pixel, train.shape, strict=True))
        assert f"{float(maps[sample.row, down, right]):g} m" == sample.label
        assert str(sample).startswith(f"{sample.region:7} image {sample.row}: ")


def test_pictures_are_drawn_below_the_labels(tmp_path: Path) -> None:
    """The picture of every row that is shown can be found in the PNG by its colours."""
    load("cifar10-lt", tmp_path)
    target = tmp_path / "made" / "cifar.png"
    found = preview(WORKLOADS["cifar10-lt"], tmp_path, target)
    with Image.open(io.BytesIO(target.read_bytes())) as image:
        drawn = {tuple(colour) for colour in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}
    assert found
    for sample in found:
        colours = {tuple(colour) for colour in sample.x.flatten(1).T.tolist()}
        assert len(colours & drawn) > 0.5 * len(colours)


def test_data_that_are_not_there_are_bad_input_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="workload agedb-dir: "):
        preview(WORKLOADS["agedb-dir"], tmp_path, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
