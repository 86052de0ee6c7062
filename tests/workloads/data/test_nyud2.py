"""NYUD2-DIR from files in the official layout."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from dense import Floating, parts
from training import fit
from workloads import WORKLOADS
from workloads.cache import Source
from workloads.data import nyud2
from workloads.data.nyud2 import GRID, MASK, WEIGHTS, load, load_with_weights
from workloads.encoders.dense import ResNetMaps, small_maps
from workloads.labels import REGIONS
from workloads.metrics import shot_metrics
from workloads.workload import DataError

CPU = torch.device("cpu")
SHAPE = (56, 76)


WORKLOAD = replace(
    WORKLOADS["nyud2-dir"],
    load=partial(load, SHAPE),
    encoder=lambda data: (torch.nn.Sequential(Floating(), torch.nn.AvgPool2d(2), small_maps(3, 8)[0]), 8),
)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode into a folder of these tests."""
    monkeypatch.setenv("TAILSWEEP_CACHE", str(tmp_path_factory.getbasetemp() / "nyud2-cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    nyud2.fixture(tmp_path)
    return tmp_path


def test_scenes_are_held_out_whole_and_counts_are_of_all_training_pixels(root: Path) -> None:
    data = WORKLOAD.load(root)
    train, val, test = parts(data)
    assert (train.rows, val.rows, test.rows) == (22, 2, 6)
    assert (train.shape, val.shape, test.shape) == ((28, 38), (28, 38), SHAPE)
    maps = train.maps(torch.arange(22), CPU)
    known = maps[~maps.isnan()]
    assert WORKLOAD.bin_counts(data).tolist() == GRID.counts(known.numpy()).tolist()
    for split in (train, val, test):
        labels = split.maps(torch.arange(split.rows), CPU).flatten()
        assert torch.equal(labels[split.at], split.y)
        assert (split.at.diff() > 0).all()
        assert labels.isnan().any()
    assert data.fingerprint == WORKLOAD.load(root).fingerprint


def test_depth_maps_of_eight_and_of_sixteen_bits_are_metres(root: Path) -> None:
    _, _, test = parts(WORKLOAD.load(root))
    folder = root / "nyud2-dir"
    with Image.open(folder / "nyu2_test" / "00003_depth.png") as image:
        whole = np.asarray(image)
    found = test.maps(torch.tensor([3]), CPU)[0].numpy()
    assert np.isin(np.round(found[~np.isnan(found)] * 1000), whole).all()
    for value in (51, 128, 255):  # 8 bits: the bin is the same as of value · 10 / 255
        path = folder / "nyu2_train" / "room_0000_out" / "1.png"
        Image.fromarray(np.full((24, 32), value, np.uint8)).save(path)
        millimetres = nyud2._depth(path.read_bytes(), Source(path, path.name, path.name), SHAPE, half=True)
        low, high = millimetres[:, 5, 5].astype(int)
        assert (low + 256 * high) / 1000 == pytest.approx(value * 10 / 255, abs=5e-4)
        assert int((low + 256 * high) / 100) == int(value * 100 / 255)


def test_drawn_test_pixels_are_balanced_over_the_bins(root: Path) -> None:
    _, val, test = parts(WORKLOAD.load(root))
    counts = GRID.counts(test.y.numpy())
    assert set(counts.tolist()) == {0, counts.max()}
    labels = test.maps(torch.arange(6), CPU)
    everything = GRID.counts(labels[~labels.isnan()].numpy())
    assert counts.max() == everything[everything > 0].min()
    assert not GRID.counts(val.y.numpy())[:7].any()


def test_the_published_mask_decides_where_it_is_present(root: Path) -> None:
    drawn = WORKLOAD.load(root)
    mask = np.random.default_rng(1).random((6, *SHAPE)) < 0.1
    np.save(root / "nyud2-dir" / MASK, mask)
    data = WORKLOAD.load(root)
    _, _, test = parts(data)
    known = ~test.maps(torch.arange(6), CPU).isnan()
    assert torch.equal(test.at, (torch.from_numpy(mask) & known).flatten().nonzero().squeeze(1))
    assert data.fingerprint != drawn.fingerprint
    np.save(root / "nyud2-dir" / MASK, mask[:5])
    with pytest.raises(DataError, match=r"test_balanced_mask\.npy must be booleans of shape \(6, 56, 76\)"):
        WORKLOAD.load(root)


@pytest.mark.parametrize("recipe", ["mse + lds + fds + distloss", "l1 + lds + fds + distloss", "bmse + inv + rrt"])
def test_a_fixture_trains_and_scores_in_every_region(recipe: str, root: Path) -> None:
    data = WORKLOAD.load(root)
    run = fit(WORKLOAD, data, recipe, {"train.epochs": 2, "train.batch_size": 6})
    assert all(np.isfinite(epoch.loss) for epoch in run)
    where = WORKLOAD.regions(data, data.test)
    scores = shot_metrics(run.predict(data.test), data.test.y.numpy(), where, WORKLOAD.metrics)
    assert all(score.value is not None for r in ("all", *REGIONS) for score in scores[r].values())


def test_the_network_of_the_depth_papers_gives_maps_of_half_the_size() -> None:
    torch.manual_seed(0)
    net = ResNetMaps((1, 1, 1, 1), (16, 32, 64, 128), 8, 4)
    out = net(torch.randint(0, 256, (2, 3, 57, 76), dtype=torch.uint8))
    assert out.shape == (2, 20, 29, 38)
    assert net.dim == 20
    out.sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_the_pretrained_network_starts_from_the_weights_that_lie_beside_the_data(tmp_path: Path) -> None:
    workload = replace(WORKLOADS["nyud2-dir-imagenet"], load=partial(load_with_weights, SHAPE))
    nyud2.fixture_with_weights(tmp_path)
    path = tmp_path / "nyud2-dir" / WEIGHTS
    data = workload.load(tmp_path)
    encoder, dim = workload.encoder(data)
    assert dim == 128
    assert isinstance(encoder, ResNetMaps)
    given, found = load_file(path), encoder.body.state_dict()
    assert all(torch.equal(given[name], value) for name, value in found.items())
    assert data.fingerprint != WORKLOAD.load(tmp_path).fingerprint
    save_file({name: value + 1 for name, value in given.items()}, path)
    assert workload.load(tmp_path).fingerprint != data.fingerprint
    save_file({"other": torch.zeros(1)}, path)
    with pytest.raises(DataError, match="must hold weights of transformers' ResNet of this size"):
        workload.load(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"resnet50\.safetensors is missing; .* microsoft/resnet-50"):
        workload.load(tmp_path)


def test_all_that_is_wrong_with_the_files_is_told_with_file_and_line(root: Path) -> None:
    folder = root / "nyud2-dir"
    lines = (folder / "nyu2_train.csv").read_text().splitlines()
    lines[1], lines[2] = "only one", "data/../../x.jpg,data/nyu2_train/y.png"
    (folder / "nyu2_train" / "room_0003_out" / "2.png").unlink()
    (folder / "nyu2_train.csv").write_text("\n".join(lines))
    (folder / "nyu2_test.csv").unlink()
    with pytest.raises(DataError) as caught:
        WORKLOAD.load(root)
    told = [problem.removeprefix(f"{folder}/").split("; ")[0] for problem in caught.value.problems]
    assert told == [
        "nyu2_train.csv:2: expected the paths of an image and its depth map, found 'only one'",
        f"nyu2_train.csv:3: expected the paths of an image and its depth map, found '{lines[2]}'",
        f"nyu2_train.csv:8: {folder}/nyu2_train/room_0003_out/2.png is missing",
        "nyu2_test.csv is missing",
    ]


def test_files_that_do_not_decode_are_told_together(root: Path) -> None:
    folder = root / "nyud2-dir"
    Image.fromarray(np.zeros((24, 32), np.uint8)).save(folder / "nyu2_train" / "room_0001_out" / "1.png")
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(folder / "nyu2_test" / "00002_depth.png")
    (folder / "nyu2_test" / "00001_colors.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        WORKLOAD.load(root)
    assert [problem.split(": ", 2)[0].removeprefix(f"{folder}/") for problem in caught.value.problems] == [
        "nyu2_test.csv:2",
        "nyu2_train.csv:3",
        "nyu2_test.csv:3",
    ]
    assert [
        next(text for text in ("not an image", "no pixel has a depth", "got mode RGB") if text in problem)
        for problem in caught.value.problems
    ] == ["not an image", "no pixel has a depth", "got mode RGB"]
