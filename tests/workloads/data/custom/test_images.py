"""Custom images: a table of files and targets, declared without code, and encoders by name."""

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import cached
from training import fit, scored
from workloads.data.custom.rows import build, load, located
from workloads.data.custom.schema import CustomData, kind_of
from workloads.encoders.images import resnet18
from workloads.encoders.named import ENCODERS
from workloads.workload import DataError

pytestmark = pytest.mark.usefixtures("cache")
CPU = torch.device("cpu")
ROWS = 90


def own(file: Path, **changes: Any) -> CustomData:
    tree = {"name": "mine", "type": "images", "file": str(file), "target": "y", "bin_width": 1.0, "size": 16, **changes}
    return kind_of(tree).model_validate(tree)


def grey(row: int) -> int:
    return 20 * (row % 10)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A table of 90 images whose brightness is the target; three rows name the first one."""
    folder = tmp_path / "data" / "photos"
    folder.mkdir(parents=True)
    lines = ["file,y,subject,part"]
    for row in range(ROWS):
        name = f"{row:03d}.png" if row % 30 else "000.png"
        pixels = np.full((24, 20, 3), grey(row), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
        lines.append(f"{name},{row % 10},s{row // 2},{('train', 'train', 'val', 'test')[row % 4]}")
    path = tmp_path / "data" / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_folder_of_images_becomes_a_workload(file: Path) -> None:
    data = build(own(file, folder="photos", split="part"), file.parent).load(file.parent)
    assert (len(data.train.y), len(data.val.y), len(data.test.y)) == (46, 22, 22)
    x = data.val.inputs(torch.arange(22), CPU)
    assert (x.shape, x.dtype) == ((22, 3, 16, 16), torch.uint8)
    assert torch.equal(x[:, 0, 0, 0], (20 * data.val.y).to(torch.uint8))


def test_subjects_stay_together_and_rows_are_held_out_in_balance(file: Path) -> None:
    data = load(own(file, folder="photos", group="subject"), file.parent)
    assert len(data.train.y) + len(data.val.y) + len(data.test.y) == ROWS
    assert torch.bincount(data.test.y.long()).max() <= 3


def test_images_are_decoded_once_and_their_contents_are_in_the_fingerprint(file: Path, tmp_path: Path) -> None:
    declared = own(file, folder="photos")
    first = load(declared, file.parent).fingerprint
    whole = (file.parent / "photos" / "001.png").read_bytes()
    for image in (file.parent / "photos").iterdir():
        cached.garble(image)
    assert load(declared, file.parent).fingerprint == first
    for row in range(ROWS):
        (file.parent / "photos" / f"{row:03d}.png").write_bytes(whole)
    assert load(declared, file.parent).fingerprint != first


def test_what_changes_numbers_changes_the_fingerprint_and_nothing_else_does(file: Path) -> None:
    found = {
        load(own(file, folder="photos", **changes), file.parent).fingerprint
        for changes in ({}, {"title": "t"}, {"encoder": "cnn"}, {"hidden": [16, 32, 64]}, {"augment": []})
    }
    assert len(found) == 1
    for changes in ({"size": 8}, {"transform": "squared"}, {"augment": ["flip"]}, {"encoder": "resnet18"}):
        found.add(load(own(file, folder="photos", **changes), file.parent).fingerprint)
    assert len(found) == 5
    orders = (["crop", "flip"], ["flip", "crop", "flip"])
    assert len({load(own(file, folder="photos", augment=o), file.parent).fingerprint for o in orders}) == 1


def test_training_images_are_moved_and_mirrored_as_declared(file: Path) -> None:
    x = torch.arange(4 * 3 * 28 * 28, dtype=torch.float32).remainder(251).view(4, 3, 28, 28).to(torch.uint8)
    flip, crop = (
        build(own(file, folder="photos", size=28, augment=[n]), file.parent).augment for n in ("flip", "crop")
    )
    assert flip is not None and crop is not None
    torch.manual_seed(0)
    flipped = flip(x)
    assert all(torch.equal(a, b.float()) or torch.equal(a, b.float().flip(2)) for a, b in zip(flipped, x, strict=True))
    assert not torch.equal(flipped, x.float())
    padded = torch.nn.functional.pad(x.float(), (2, 2, 2, 2))  # a fourteenth of 28
    windows = padded.unfold(2, 28, 1).unfold(3, 28, 1)
    for image, places in zip(crop(x), windows, strict=True):
        assert any(torch.equal(image, places[:, i, j]) for i in range(5) for j in range(5))
    plain = build(own(file, folder="photos"), file.parent).augment
    assert plain is not None and torch.equal(plain(x), x.float())


def test_images_that_are_missing_broken_or_elsewhere_are_told_with_their_rows(file: Path) -> None:
    photos = file.parent / "photos"
    (photos / "004.png").unlink()
    (photos / "007.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        load(own(file, folder="photos"), file.parent)
    assert [problem.split(": /")[0] for problem in caught.value.problems] == [f"{file}: row 5", f"{file}: row 8"]
    with pytest.raises(DataError, match=r"none of the 88 images is there, such as .*/data/000\.png"):
        load(own(file), None)
    with pytest.raises(DataError, match="elsewhere is missing; give its path"):
        load(own(file, folder="elsewhere"), file.parent)
    with pytest.raises(DataError, match="column 'image' is missing; the file has file, y, subject, part"):
        load(own(file, column="image"), None)
    file.write_text(file.read_text().replace("\n001.png", "\n../001.png").replace("\n002.png", "\n/etc/x.png"))
    with pytest.raises(DataError) as caught:
        load(own(file, folder="photos"), file.parent)
    assert [problem.split("got ")[1] for problem in caught.value.problems] == ["'../001.png'", "'/etc/x.png'"]


@pytest.mark.parametrize("name", ENCODERS["images"])
def test_every_encoder_of_images_trains_and_sees_bytes_as_it_sees_what_augmentation_makes_of_them(
    file: Path, name: str
) -> None:
    workload = build(own(file, folder="photos", encoder=name, augment=["crop", "flip"]), file.parent)
    data = workload.load(file.parent)
    result = scored(fit(workload, data, "l1", {"train.epochs": 1, "train.batch_size": 32}))
    assert result["all"]["mae"] is not None
    encoder = workload.encoder(data)[0].eval()
    x = data.train.inputs(torch.arange(8), CPU)
    torch.testing.assert_close(encoder(x), encoder(x.float()))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_of_a_file_are_what_the_encoder_starts_from(file: Path, tmp_path: Path, suffix: str) -> None:
    from safetensors.torch import save_file

    trained, _ = resnet18()
    state = {f"resnet.{name}": value for name, value in trained.body.state_dict().items()}
    state["classifier.1.weight"] = torch.zeros(2, 512)
    path = file.parent / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    declared = own(file, folder="photos", encoder="resnet18", weights=path.name)
    data = load(declared, file.parent)
    made, dim = build(declared, file.parent).encoder(data)
    assert dim == 512
    x = data.val.inputs(torch.arange(2), CPU)
    mean, sd = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = trained.eval().body((x / 255 - mean) / sd).pooler_output.flatten(1)
    torch.testing.assert_close(made.eval()(x), expected)
    assert data.fingerprint != load(own(file, folder="photos", encoder="resnet18"), file.parent).fingerprint


def test_a_file_without_the_weights_of_the_encoder_is_refused(file: Path) -> None:
    path = file.parent / "weights.pt"
    torch.save({"classifier.1.weight": torch.zeros(2, 512)}, path)
    declared = own(file, folder="photos", encoder="resnet18", weights=path.name)
    with pytest.raises(DataError, match=r"must hold weights of transformers' ResNet of this size: .*[Mm]issing key"):
        load(declared, file.parent)
    path.write_bytes(b"\x80\x04no weights")
    with pytest.raises(DataError, match="must hold weights of transformers' ResNet"):
        load(declared, file.parent)


def test_weights_on_the_hub_are_fetched_and_count_by_their_contents(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    path = file.parent / "fetched.safetensors"
    save_file(resnet18()[0].get_submodule("body").state_dict(), path)
    monkeypatch.setattr("workloads.encoders.hub.fetched", {"hub:acme/net": path}.__getitem__)
    by_name, by_file = (
        load(own(file, folder="photos", encoder="resnet18", weights=text), file.parent)
        for text in ("hub:acme/net", path.name)
    )
    assert by_name.fingerprint == by_file.fingerprint
    assert by_name.weights == path


def test_a_name_on_the_hub_travels_to_the_nodes_which_have_folders_of_their_own(file: Path) -> None:
    declared = own(file, folder="photos", encoder="resnet18", weights="hub:acme/net")
    assert located(declared, file.parent).weights == "hub:acme/net"
    assert set(located(declared, file.parent).local) == {"file", "folder"}


def test_a_hub_that_has_no_such_weights_is_a_problem_of_the_data(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(text: str) -> Path:
        raise ValueError(f"no {text}")

    monkeypatch.setattr("workloads.encoders.hub.fetched", none)
    with pytest.raises(DataError, match="no hub:acme/net"):
        load(own(file, folder="photos", encoder="resnet18", weights="hub:acme/net"), file.parent)


def test_workers_on_a_cold_node_decode_once_together(file: Path, cache: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cached"])
    workers = [context.Process(target=cached.load_own, args=(str(file), str(cache))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 4
    (notes,) = {path.read_text() for path in cache.glob("*.progress")}
    assert notes == "88/88\n"
    assert len(list(cache.glob("*.progress"))) == 1


@pytest.mark.parametrize(
    ("encoder", "shape", "seen"),
    [("conv1d", (4, 50), (4, 50)), ("conv1d", (50,), (1, 50)), ("lstm", (3, 20), (3, 20)), ("cnn", (8, 8), (1, 8, 8))],
)
def test_arrays_keep_their_shape_for_the_encoder_that_is_named(
    tmp_path: Path, encoder: str, shape: tuple[int, ...], seen: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 5, 120).astype(float)
    x = 7 + 3 * rng.normal(size=(120, *shape)) + y.reshape(-1, *[1] * len(shape))
    x[0].flat[0] = np.nan
    np.savez(tmp_path / "a.npz", x=x, y=y)
    workload = build(_arrays(tmp_path, encoder), None)
    data = workload.load(None)
    train = data.train.inputs(torch.arange(len(data.train.y)), CPU)
    assert tuple(train.shape[1:]) == seen
    assert torch.isfinite(train).all()
    assert float(train.mean()) == pytest.approx(0, abs=1e-3)
    assert float(train.std()) == pytest.approx(1, abs=0.05)
    result = scored(fit(workload, data, "l1", {"train.epochs": 1, "train.batch_size": 32}))
    assert result["all"]["mae"] is not None


def _arrays(folder: Path, encoder: str) -> CustomData:
    tree = {"name": "mine", "type": "arrays", "file": str(folder / "a.npz"), "target": "y", "bin_width": 1.0}
    return kind_of(tree).model_validate({**tree, "encoder": encoder})


def test_arrays_of_another_shape_are_refused_with_the_shapes_that_fit(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((30, 2, 2, 2, 2)), y=np.arange(30) % 3)
    with pytest.raises(
        DataError, match=r"encoder conv1d reads \[N, C, T\] or \[N, T\]: array 'x' is \[30, 2, 2, 2, 2\]"
    ):
        build(_arrays(tmp_path, "conv1d"), None)
