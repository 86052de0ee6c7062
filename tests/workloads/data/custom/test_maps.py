"""Custom images whose every pixel has a label: declared without code."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from dense import parts
from training import fit
from workloads.data.custom.rows import build
from workloads.data.custom.schema import CustomData, kind_of
from workloads.encoders.named import ENCODERS
from workloads.labels import REGIONS
from workloads.metrics import shot_metrics
from workloads.workload import DataError

pytestmark = pytest.mark.usefixtures("cache")
CPU = torch.device("cpu")
ROWS, SIDE = 40, 16


def own(file: Path, **changes: Any) -> CustomData:
    tree = {"name": "mine", "type": "maps", "file": str(file), "target": "depth", "folder": str(file.parent / "files")}
    grid = {"bin_width": 0.5, "low": 0.0, "high": 5.0, "size": SIDE}
    return kind_of(tree).model_validate({**tree, **grid, "scale": 0.001, **changes})


def millimetres(row: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """A ramp from 0.4 m to at most 4.8 m, steeper in later rows, with a hole."""
    ramp = 400 + np.linspace(0, 1, SIDE) ** 3 * np.ones((SIDE, 1)) * (400 + 100 * row)
    ramp[:2, row % SIDE] = 0
    return ramp.astype(np.uint16)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A table of 40 rooms, two of every subject, with images whose brightness is the depth."""
    folder = tmp_path / "files"
    folder.mkdir()
    lines = ["file,depth,room,part"]
    for row in range(ROWS):
        depth = millimetres(row)
        grey = (depth[..., None] // 20).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
        Image.fromarray(grey).save(folder / f"{row}.png")
        Image.fromarray(depth).save(folder / f"{row}_depth.png")
        lines.append(f"{row}.png,{row}_depth.png,r{row // 2},{('train', 'train', 'val', 'test')[row % 4]}")
    path = tmp_path / "rooms.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_declaration_survives_its_way_to_a_worker(file: Path) -> None:
    declared = own(file, augment=["flip"])
    assert kind_of(declared.model_dump()).model_validate(declared.model_dump()) == declared


def test_values_are_labels_in_units_and_blanks_are_none(file: Path) -> None:
    workload = build(own(file, split="part"), None)
    data = workload.load(None)
    train, val, test = parts(data)
    assert (train.rows, val.rows, test.rows) == (20, 10, 10)
    rows = [row for row in range(ROWS) if row % 4 < 2]
    for index, row in enumerate(rows):
        expected = millimetres(row).astype(np.float32) / 1000
        expected[expected == 0] = np.nan
        np.testing.assert_allclose(train.maps(torch.tensor([index]), CPU)[0].numpy(), expected, rtol=1e-6)
        assert data.describe is not None and data.describe(index) == f"{row}.png"
    labels = train.maps(torch.arange(20), CPU)
    assert workload.bin_counts(data).tolist() == workload.grid.counts(labels[~labels.isnan()].numpy()).tolist()
    for part in (train, val, test):
        flat = part.maps(torch.arange(part.rows), CPU).flatten()
        assert torch.equal(flat[part.at], part.y)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "int32", "float32"])
def test_maps_may_be_images_of_any_number_of_bits(file: Path, kind: str) -> None:
    values = {row: np.where(millimetres(row) == 0, 0, millimetres(row) // 100).astype(kind) for row in range(ROWS)}
    for row, value in values.items():
        Image.fromarray(value).save(file.parent / "files" / f"{row}.tif")
    file.write_text(file.read_text().replace("_depth.png", ".tif"))
    train, _, _ = parts(build(own(file, split="part", scale=0.1), None).load(None))
    expected = values[0].astype(np.float32) / 10
    expected[expected == 0] = np.nan
    np.testing.assert_allclose(train.maps(torch.tensor([0]), CPU)[0].numpy(), expected, rtol=1e-6)


def test_maps_may_be_arrays_and_are_brought_to_their_size_by_the_nearest_pixel(file: Path) -> None:
    large = np.kron(millimetres(0) / 1000.0, np.ones((3, 3)))
    large[0, 0] = np.inf
    for row in range(ROWS):
        np.save(file.parent / "files" / f"{row}.npy", large if row == 0 else millimetres(row) / 1000.0)
    file.write_text(file.read_text().replace("_depth.png", ".npy"))
    whole, _, _ = parts(build(own(file, split="part", scale=1.0), None).load(None))
    expected = millimetres(0).astype(np.float32) / 1000
    expected[expected == 0] = np.nan
    np.testing.assert_allclose(whole.maps(torch.tensor([0]), CPU)[0].numpy(), expected, rtol=1e-6)
    half, _, _ = parts(build(own(file, split="part", scale=1.0, map_size=8), None).load(None))
    assert half.maps(torch.tensor([1]), CPU).shape == (1, 8, 8)
    found = half.maps(torch.tensor([1]), CPU)
    assert set(found[~found.isnan()].tolist()) <= set((millimetres(1) / 1000.0).astype("f4").flat)


def test_groups_stay_together_and_a_tenth_of_them_is_held_out_twice(file: Path) -> None:
    data = build(own(file, group="room"), None).load(None)
    assert [part.rows for part in parts(data)] == [32, 4, 4]
    assert data.describe is not None
    rooms = [int(data.describe(row).removesuffix(".png")) // 2 for row in range(32)]
    assert all(rooms.count(room) == 2 for room in rooms)
    assert [part.rows for part in parts(build(own(file), None).load(None))] == [32, 4, 4]


def test_what_changes_numbers_changes_the_fingerprint_and_nothing_else_does(file: Path) -> None:
    def fingerprint(**changes: Any) -> str:
        return build(own(file, **changes), None).load(None).fingerprint

    same = {fingerprint(), fingerprint(title="t"), fingerprint(encoder="small"), fingerprint(map_size=None)}
    assert len(same) == 1
    others = [
        {"scale": 0.0005},
        {"blank": None},
        {"map_size": 8},
        {"cap": 9},
        {"few_share": 0.02},
        {"augment": ["flip"]},
    ]
    assert len({fingerprint(**changes) for changes in others} | same) == len(others) + 1


@pytest.mark.parametrize("recipe", ["l1 + lds + fds + distloss", "bmse + inv + rrt"])
def test_it_trains_and_scores_in_every_region(recipe: str, file: Path) -> None:
    workload = build(own(file, split="part", many_share=0.2, few_share=0.02, augment=["flip", "light"]), None)
    data = workload.load(None)
    run = fit(workload, data, recipe, {"train.epochs": 2, "train.batch_size": 8})
    assert all(np.isfinite(epoch.loss) for epoch in run)
    scores = shot_metrics(
        run.predict(data.test), data.test.y.numpy(), workload.regions(data, data.test), workload.metrics
    )
    assert all(score.value is not None for region in ("all", *REGIONS[:3]) for score in scores[region].values())


def test_images_are_changed_with_their_maps(file: Path) -> None:
    workload = build(own(file, split="part", augment=["flip"]), None)
    train, _, _ = parts(workload.load(None))
    x, y = train.inputs(torch.arange(20), CPU), train.maps(torch.arange(20), CPU)
    assert workload.augment_maps is not None
    torch.manual_seed(0)
    new_x, new_y = workload.augment_maps(x, y)
    turned = [not torch.equal(a, b.float()) for a, b in zip(new_x, x, strict=True)]
    assert 0 < sum(turned) < 20
    for flip, a, b, c, d in zip(turned, new_x, x, new_y, y, strict=True):
        assert torch.equal(a, b.float().flip(2) if flip else b.float())
        assert torch.equal(c.nan_to_num(), (d.flip(1) if flip else d).nan_to_num())


@pytest.mark.parametrize("name", ENCODERS["maps"])
def test_every_encoder_gives_features_of_pixels(file: Path, name: str) -> None:
    workload = build(own(file, split="part", encoder=name), None)
    data = workload.load(None)
    encoder, dim = workload.encoder(data)
    x = data.train.inputs(torch.arange(2), CPU)
    z = encoder.eval()(x)
    assert z.shape[:2] == (2, dim)
    assert z.dim() == 4
    torch.testing.assert_close(z, encoder(x.float()))


def test_all_that_is_wrong_is_told_with_its_row(file: Path) -> None:
    folder = file.parent / "files"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "1_depth.png")
    Image.fromarray(np.full((8, 8), 9000, np.uint16)).save(folder / "2_depth.png")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / "3_depth.png")
    (folder / "4_depth.png").unlink()
    (folder / "5.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        build(own(file), None).load(None)
    told = {problem.split(": ")[1]: problem for problem in caught.value.problems}
    assert list(told) == ["row 6", "row 2", "row 3", "row 4", "row 5"]
    assert "got mode RGB" in told["row 2"]
    assert "labels must lie in 0 … 5: got 9 … 9" in told["row 3"]
    assert "no pixel has a label" in told["row 4"]
    file.write_text(file.read_text().replace("7_depth.png", "../7_depth.png"))
    with pytest.raises(DataError, match=r"row 8: depth must name a file below the folder: got '\.\./7_depth\.png'"):
        build(own(file), None).load(None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": 5.0}, "low < high must hold: got 5 and 5"),
        ({"few_share": 0.5}, "few_share <= many_share must hold: got 0.5 and 0.03"),
        ({"many": 99}, "many count rows: pixels have many_share and few_share"),
        ({"low": None}, "low"),
        ({"encoder": "cnn"}, "small"),
        ({"weights": "w.safetensors"}, "weights are read by resnet50"),
        ({"transform": "squared"}, "transform"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(changes: dict[str, Any], message: str, file: Path) -> None:
    with pytest.raises(ValueError, match=message):
        own(file, **changes)


def test_a_photograph_lies_on_its_map_as_people_see_both(file: Path) -> None:
    folder = file.parent / "files"
    upright = parts(build(own(file, split="part"), None).load(None))[0]
    wanted = upright.inputs(torch.arange(2), CPU), upright.maps(torch.arange(2), CPU)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the camera was held on its side
    for path in (folder / "0.png", folder / "0_depth.png"):
        with Image.open(path) as image:
            image.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    train = parts(build(own(file, split="part"), None).load(None))[0]
    assert torch.equal(train.inputs(torch.arange(2), CPU), wanted[0])
    assert torch.equal(train.maps(torch.arange(2), CPU).nan_to_num(), wanted[1].nan_to_num())


def test_arrays_that_are_no_maps_of_real_numbers_are_told_with_their_row(file: Path) -> None:
    folder = file.parent / "files"
    whole = io.BytesIO()
    np.save(whole, np.ones((8, 8)))
    np.savez(folder / "archive.npz", x=np.ones((8, 8)))
    lies = whole.getvalue().replace(b"(8, 8)", b"(9**9,", 1)
    arrays: dict[str, Any] = {"complex": np.ones((8, 8), complex), "durations": np.ones((8, 8), "m8[s]")}
    arrays |= {"cube": np.ones((8, 8, 3)), "none": np.ones((0, 8)), "huge": np.full((8, 8), 1e308)}
    files = {"empty": b"", "cut": whole.getvalue()[:200], "lies": lies, "npz": (folder / "archive.npz").read_bytes()}
    files["larger"] = whole.getvalue().replace(b"(8, 8), }         ", b"(8, 8000000000), }", 1)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    for name, content in files.items():
        (folder / f"{name}.npy").write_bytes(content)
    names = [*arrays, *files]
    text = file.read_text()
    for row, name in enumerate(names):
        text = text.replace(f",{row}_depth.png", f",{name}.npy")
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        build(own(file, scale=10.0), None).load(None)
    rows = {problem.split(": ")[1] for problem in caught.value.problems}
    assert {f"row {row + 1}" for row in range(len(names))} <= rows
    told = {name: next(p for p in caught.value.problems if f"{name}.npy" in p) for name in names}
    assert "real numbers [H, W]: got complex128" in told["complex"]
    assert "labels must lie in" in told["huge"]
    assert "GB are read" in told["larger"]
    assert all(problem.isprintable() and len(problem) < 700 for problem in caught.value.problems)
