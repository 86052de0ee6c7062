"""ImageNet-LT, Places-LT and iNaturalist 2018 from lists and folders in the published layout."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from epochs import RECIPES, train_one_epoch
from workloads import WORKLOADS
from workloads.data.photos import IMAGENET, INATURALIST, PLACES, Lists, load
from workloads.encoders.small import conv_net
from workloads.workload import DataError

LISTS = (IMAGENET, PLACES, INATURALIST)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of decoded photographs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode into a folder of these tests."""
    monkeypatch.setenv("TAILSWEEP_CACHE", str(folder))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the three fixtures."""
    made = tmp_path_factory.mktemp("photos")
    for lists in LISTS:
        write(lists, made)
    return made


def write(lists: Lists, root: Path) -> Path:
    """The folder of a fixture."""
    fixture = WORKLOADS[lists.name].fixture
    assert fixture is not None
    fixture(root)
    return root / lists.name


@pytest.mark.parametrize("lists", LISTS, ids=lambda lists: lists.name)
def test_a_fixture_loads_with_its_tail(lists: Lists, root: Path) -> None:
    data = WORKLOADS[lists.name].load(root)
    counts = WORKLOADS[lists.name].grid.counts(data.train.y.numpy())
    assert len(counts) == lists.classes
    held = lists.val is None
    assert counts[:7].tolist() == ([109, 24, 2, 2, 2, 2, 0] if held else [110, 25, 3, 3, 3, 3, 0])
    assert (len(data.val.y), len(data.test.y)) == (6 if held else 12, 12)
    x = data.test.inputs(torch.tensor([3, 0]), CPU)
    assert (x.shape, x.dtype) == ((2, 3, 224, 224), torch.uint8)
    assert torch.equal(x[1:], data.test.inputs(torch.tensor([0]), CPU))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("lists", [IMAGENET, INATURALIST], ids=lambda lists: lists.name)
def test_a_fixture_trains_and_scores_in_every_region(lists: Lists, recipe: str, root: Path) -> None:
    small = replace(
        WORKLOADS[lists.name],
        load=partial(load, lists, 32),
        encoder=lambda data: conv_net((0.5,) * 3, (0.25,) * 3, (8, 16), (2, 2)),
    )
    train_one_epoch(small, root, recipe)


def test_the_official_json_reads_like_the_lists(root: Path, tmp_path: Path) -> None:
    data = WORKLOADS["inaturalist18"].load(root)
    folder = write(INATURALIST, tmp_path)
    for name, other in INATURALIST.json.items():
        rows = [line.split(" ") for line in (folder / name).read_text().splitlines()]
        tree = {
            "images": [{"id": n, "file_name": path} for n, (path, _) in enumerate(rows)],
            "annotations": [{"image_id": n, "category_id": int(label)} for n, (_, label) in enumerate(rows)],
        }
        (folder / other).write_text(json.dumps(tree))
        (folder / name).unlink()
    assert WORKLOADS["inaturalist18"].load(tmp_path).fingerprint == data.fingerprint
    (folder / "val2018.json").write_text("{}")
    with pytest.raises(DataError, match=r"val2018\.json must have images"):
        WORKLOADS["inaturalist18"].load(tmp_path)


def test_every_bad_line_is_told_with_file_and_line(tmp_path: Path) -> None:
    folder = write(IMAGENET, tmp_path)
    good = "ImageNet_LT_test/0/0000.jpg"
    lines = [f"{good} 0", f"{good} 1000", good, "../elsewhere.jpg 1", "/etc/hostname 1", "gone.jpg 2"]
    (folder / IMAGENET.test).write_text("\n".join(lines))
    (folder / "ImageNet_LT_val.txt").write_text("")
    (folder / IMAGENET.train).unlink()
    with pytest.raises(DataError) as caught:
        WORKLOADS["imagenet-lt"].load(tmp_path)
    assert [problem.removeprefix(f"{folder}/") for problem in caught.value.problems] == [
        "ImageNet_LT_train.txt is missing",
        "ImageNet_LT_val.txt: it has no rows",
        f"ImageNet_LT_test.txt:3: expected a path and a label, found '{good}'",
        "ImageNet_LT_test.txt:2: class must be in 0 … 999, found '1000'",
        f"ImageNet_LT_test.txt:4: paths must stay in {folder}, found '../elsewhere.jpg'",
        f"ImageNet_LT_test.txt:5: paths must stay in {folder}, found '/etc/hostname'",
        f"ImageNet_LT_test.txt:6: {folder}/gone.jpg is missing",
    ]


def test_photographs_that_do_not_decode_are_told_with_their_lines(tmp_path: Path) -> None:
    folder = write(PLACES, tmp_path)
    path = folder / "Places_LT_test/0/0001.jpg"
    path.write_bytes(path.read_bytes()[:200])
    (folder / "Places_LT_val/1/0000.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        WORKLOADS["places-lt"].load(tmp_path)
    told = sorted(problem.split(": ")[0] for problem in caught.value.problems)
    assert told == [f"{folder}/Places_LT_test.txt:2", f"{folder}/Places_LT_val.txt:3"]


def test_without_files_the_way_to_them_is_said(tmp_path: Path) -> None:
    for lists in LISTS:
        for place in (None, tmp_path):
            with pytest.raises(DataError, match=r"; get .* from https?://"):
                WORKLOADS[lists.name].load(place)
