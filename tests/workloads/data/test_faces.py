"""AgeDB-DIR and IMDB-WIKI-DIR load from the official layout, train, and say all that is wrong with their files."""

import csv
import math
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import published
from workloads import WORKLOADS
from workloads.cache import Source, telling
from workloads.data.faces import AGEDB, GRID, IMDB_WIKI, FaceSet, face_workload, read_labels
from workloads.data.images import resized
from workloads.encoders.images import ResNet, crop_and_flip, resnet50
from workloads.labels import REGIONS, regions
from workloads.loop import Fit
from workloads.recipe import Recipe
from workloads.training import settle
from workloads.workload import DataError

SETS = [AGEDB, IMDB_WIKI]
SIZE = 32
CPU = torch.device("cpu")


def tiny():
    encoder = ResNet((1, 1), (8, 16), 8)
    return encoder, encoder.dim


def small(faces: FaceSet):
    """The workload with images of 32 px and a network of two blocks."""
    return face_workload(faces, SIZE, tiny)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAILSWEEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for faces in SETS:
        small(faces).fixture(root)
    return root


@pytest.fixture
def root(fixtures: Path, tmp_path: Path) -> Path:
    """A copy of the made-up files, to be broken."""
    return Path(shutil.copytree(fixtures, tmp_path / "data"))


def edit(table: Path, line: int, text: str) -> None:
    """Replace a line, counted from 1, of a CSV."""
    lines = table.read_text().splitlines()
    lines[line - 1] = text
    table.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("faces", SETS, ids=lambda faces: faces.name)
def test_made_up_files_load_and_train_with_scores_in_every_region(faces: FaceSet, fixtures: Path):
    workload = small(faces)
    data = workload.load(fixtures)
    x = data.train.inputs(torch.tensor([0, 150, 264]), CPU)
    assert (x.dtype, x.shape) == (torch.uint8, (3, 3, SIZE, SIZE))
    recipe = Recipe.parse("l1 + lds + fds + ranksim + distloss")
    # FDS acts from the second epoch: a run of one would warn that it changed nothing.
    fit = Fit(workload, data, recipe, settle(recipe, workload.settings, {"train.epochs": 2}), 0, CPU)
    epoch = list(fit)[-1]
    assert math.isfinite(epoch.loss)
    for region in ("all", "many", "medium", "few"):
        assert epoch.val[region]["mae"].value is not None
    seen = {REGIONS[r] for r in regions(data.train.y, data.test.y, GRID, workload.shots)}
    assert seen == {"many", "medium", "few"}


def test_a_run_that_draws_augmentations_continues_as_if_it_was_never_interrupted(fixtures: Path):
    workload = small(AGEDB)
    data, recipe = workload.load(fixtures), Recipe.parse("l1")
    settings = settle(recipe, workload.settings, {"train.epochs": 2, "train.batch_size": 64})

    def fit() -> Fit:
        return Fit(workload, data, recipe, settings, 3, CPU)

    whole = [epoch.loss for epoch in fit()]
    first, second = fit(), fit()
    next(iter(first))
    state = first.state_dict()
    torch.manual_seed(99)
    second.load_state_dict(state)
    next(iter(second))
    assert [epoch.loss for epoch in second.curve] == whole


def test_the_settings_are_the_published_ones():
    for faces, first in ((AGEDB, 3), (IMDB_WIKI, 0)):
        settings = WORKLOADS[faces.name].settings
        assert settle(Recipe.parse("l1 + fds"), settings) == {
            "train.epochs": 90,
            "train.schedule": "steps",
            "fds.last_bin": 99,
            **({"fds.first_bin": first} if first else {}),
        }  # batches of 256 and Adam with 1e-3 are the loop's defaults


def test_real_labels_have_the_published_counts():
    rows, problems = read_labels(published.find("agedb/agedb.csv"), AGEDB.oldest)
    ages = {split: np.array([row.age for row in rows if row.split == split]) for split in ("train", "val", "test")}
    workload = WORKLOADS["agedb-dir"]
    counts = {split: len(values) for split, values in ages.items()}
    for split in ("train", "test"):
        found = regions(ages["train"], ages[split], workload.grid, workload.shots)
        counts |= {f"{split}/{name}": int((found == r).sum()) for r, name in enumerate(REGIONS) if name != "zero"}
    assert problems == []
    assert counts == workload.counts


def test_labels_without_images_say_what_is_missing_and_where_it_is_to_be_had(tmp_path: Path):
    (tmp_path / "agedb").mkdir()
    shutil.copy(published.find("agedb/agedb.csv"), tmp_path / "agedb")
    with pytest.raises(DataError) as caught:
        WORKLOADS["agedb-dir"].load(tmp_path)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{tmp_path / 'agedb' / 'AgeDB'}: the images are missing")
    assert "password" in problem
    assert "16,488" in problem


def test_one_folder_of_images_that_is_missing_is_one_problem(root: Path):
    shutil.rmtree(root / "imdb-wiki" / "wiki_crop")
    with pytest.raises(DataError) as caught:
        small(IMDB_WIKI).load(root)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{root / 'imdb-wiki' / 'wiki_crop'}: the images are missing")


@pytest.mark.parametrize("faces", SETS, ids=lambda faces: faces.name)
def test_without_files_the_address_and_the_steps_are_named(faces: FaceSet, tmp_path: Path):
    workload = small(faces)
    with pytest.raises(DataError, match="TAILSWEEP_DATA"):
        workload.load(None)
    with pytest.raises(DataError, match=faces.origin.files[0].url) as caught:
        workload.load(tmp_path)
    assert faces.origin.page in str(caught.value)


def test_all_that_is_wrong_is_in_one_report_by_file_and_row(root: Path):
    table = root / "agedb" / "agedb.csv"
    lines = table.read_text().splitlines()
    names = list(dict.fromkeys(line.split(",")[1] for line in lines[1:]))
    missing, truncated, no_image = (root / "agedb" / name for name in names[:3])
    missing.unlink()
    truncated.write_bytes(truncated.read_bytes()[:400])
    no_image.write_text("<html>not found</html>")
    edit(table, 10, f"nan,{names[4]},train")
    edit(table, 11, f"130,{names[4]},train")
    edit(table, 12, f"-1,{names[4]},train")
    edit(table, 13, f"thirty,{names[4]},dev")
    edit(table, 14, "31,../../secret.jpg,train")
    edit(table, 15, "31")
    edit(table, 16, "31,.,train")
    edit(table, 17, "31,AgeDB/\0.jpg,train")
    with pytest.raises(DataError) as caught:
        small(AGEDB).load(root)
    found = [problem.removeprefix(f"{table}:") for problem in caught.value.problems]
    assert [problem.split(" ")[0] for problem in found] == [
        *("10:", "11:", "12:", "13:", "13:", "14:", "15:", "15:"),
        *("2:", "3:", "4:", "16:", "17:"),
    ]
    for problem, words in zip(
        found,
        (
            "nan",
            "130",
            "-1",
            "thirty",
            "'dev'",
            "secret",
            "path",
            "split",
            "missing",
            "decode",
            "not an image",
            "decode",
            "null byte",
        ),
        strict=True,
    ):
        assert words in problem


def test_an_age_beyond_the_grid_is_kept_where_the_published_data_has_some(root: Path):
    table = root / "imdb-wiki" / "imdb_wiki.csv"
    edit(table, 2, "150" + table.read_text().splitlines()[1][2:])
    data = small(IMDB_WIKI).load(root)
    assert data.train.y[0] == 150
    assert GRID.bin(data.train.y.numpy())[0] == 120


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_an_empty_split_is_named(root: Path, split: str):
    table = root / "agedb" / "agedb.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if not line.endswith(f",{split}\n")))
    with pytest.raises(DataError, match=f"the split {split} has no sound row"):
        small(AGEDB).load(root)


def test_a_wrong_column_is_named_with_those_that_are_there(root: Path):
    edit(root / "agedb" / "agedb.csv", 1, "years,path,split")
    with pytest.raises(DataError, match=r"agedb.csv:1: column age missing.*years,path,split"):
        small(AGEDB).load(root)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00age", b'age,path,split\n1,"a\n', b"age,path,split\n"])
def test_a_file_that_is_no_table_is_named(root: Path, content: bytes):
    (root / "agedb" / "agedb.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"agedb\.csv"):
        small(AGEDB).load(root)


def test_the_fingerprint_follows_labels_pixels_and_size_and_not_the_place(fixtures: Path, root: Path):
    def fingerprint(place: Path, size: int = SIZE) -> str:
        return face_workload(AGEDB, size, tiny).load(place).fingerprint

    first = fingerprint(fixtures)
    assert fingerprint(root) == first
    assert fingerprint(root, 16) != first
    table = root / "agedb" / "agedb.csv"
    image = root / "agedb" / table.read_text().splitlines()[1].split(",")[1]
    Image.new("RGB", (9, 9)).save(image)
    changed = fingerprint(root)
    edit(table, 2, "33" + table.read_text().splitlines()[1][2:])
    assert len({first, changed, fingerprint(root)}) == 3


def test_an_image_that_many_rows_name_is_decoded_once(fixtures: Path):
    calls = []
    load = small(AGEDB).load
    assert isinstance(load, partial)
    with telling(lambda done, of: calls.append((done, of))):
        load(fixtures)
    with (fixtures / "agedb" / "agedb.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) > 250
    assert calls[-1] == (49, 49)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_every_kind_of_image_becomes_rgb_of_the_size(tmp_path: Path, mode: str):
    path = tmp_path / ("a.png" if mode != "CMYK" else "a.jpg")
    Image.new("RGB", (30, 50), (200, 200, 200)).convert(mode).save(path)
    pixels = resized(24).decode(path.read_bytes(), Source(path, path.name))
    assert pixels.shape == (3, 24, 24)
    assert np.abs(pixels.astype(int) - 200).max() <= 20  # a palette dithers


def test_augmentation_moves_whole_pixels_by_at_most_the_padding_and_flips_half():
    torch.manual_seed(0)
    rows = torch.arange(1, 41, dtype=torch.uint8).view(1, 1, 40, 1).expand(64, 3, 40, 40)
    moved = crop_and_flip(rows)
    assert moved.dtype == torch.float32
    shifts = [int(image[0, 20, image[0, 20].argmax()]) - 21 for image in moved]
    assert min(shifts) < -8 and max(shifts) > 8
    assert all(abs(shift) <= 16 for shift in shifts)
    for image, shift in zip(moved, shifts, strict=True):
        moved_rows = [i + shift if 1 <= i + shift <= 40 else 0 for i in range(1, 41)]
        assert image[0, :, 20].tolist() == moved_rows
    columns = torch.arange(1, 41, dtype=torch.uint8).view(1, 1, 1, 40).expand(64, 3, 40, 40)
    flipped = [bool(image[0, 20, 19] > image[0, 20, 20]) for image in crop_and_flip(columns)]
    assert 16 < sum(flipped) < 48


def test_resnet50_scales_pixels_and_gives_2048_features():
    encoder, dim = resnet50()
    assert dim == 2048
    assert sum(p.numel() for p in encoder.parameters()) == 23_508_032
    black, white = torch.zeros(1, 3, 2, 2, dtype=torch.uint8), torch.full((1, 3, 2, 2), 255.0)
    assert encoder.scale(black).unique().item() == -1.0
    assert encoder.scale(white).unique().item() == 1.0
    with torch.no_grad():
        assert encoder.eval()(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape == (2, 2048)
