"""ModelNet10 from meshes in the official layout."""

from pathlib import Path

import numpy as np
import pytest
import torch

import cached
from epochs import RECIPES, train_one_epoch
from workloads import WORKLOADS
from workloads.data.modelnet import FOLDER, TRAIN, read_off, surface_points
from workloads.encoders.points import PointNet, turn_and_jitter
from workloads.workload import DataError

pytestmark = pytest.mark.usefixtures("cache")

SQUARE = "OFF\n4 2 0\n0 0 5\n2 0 5\n2 2 5\n0 2 5\n3 0 1 2\n3 0 2 3\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the fixture."""
    made = tmp_path_factory.mktemp("modelnet")
    fixture = WORKLOADS["modelnet10-lt"].fixture
    assert fixture is not None
    fixture(made)
    return made


def test_a_fixture_loads_with_its_tail_and_the_same_points_each_time(root: Path) -> None:
    for name in ("modelnet10", "modelnet10-lt"):
        data = WORKLOADS[name].load(root)
        assert WORKLOADS[name].grid.counts(data.train.y.numpy()).tolist() == [109, 24] + [2] * 8
        assert (len(data.val.y), len(data.test.y)) == (10, 20)
        x = data.train.inputs(torch.arange(3), torch.device("cpu"))
        assert x.shape == (3, 3, 512)
        assert torch.allclose(x.norm(dim=1).amax(1), torch.ones(3))
        assert WORKLOADS[name].load(root).fingerprint == data.fingerprint


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_fixture_trains_and_scores_in_every_region(root: Path, recipe: str) -> None:
    train_one_epoch(WORKLOADS["modelnet10-lt"], root, recipe)


def test_the_official_files_would_give_these_rows() -> None:
    assert sum(TRAIN) == 3991
    assert WORKLOADS["modelnet10"].counts["train"] == 3991 - 100
    assert WORKLOADS["modelnet10-lt"].counts["train"] == 96 + 143 + 102 + 73 + 52 + 37 + 27 + 19 + 13 + 10


def test_points_lie_on_the_surface_evenly_and_depend_on_the_seed_alone() -> None:
    points = surface_points(*read_off(SQUARE), 4000, 0)
    assert points.shape == (3, 4000)
    assert np.allclose(points[2], 0, atol=1e-6)  # the square is flat
    quarters = np.histogram2d(points[0], points[1], bins=2, range=[[-0.75, 0.75]] * 2)[0]
    assert quarters.min() > 900
    assert (points == surface_points(*read_off(SQUARE), 4000, 0)).all()
    assert (points != surface_points(*read_off(SQUARE), 4000, 1)).any()


def test_a_missing_line_break_after_off_is_read_as_some_official_files_have_it() -> None:
    a, b = read_off(SQUARE), read_off(SQUARE.replace("OFF\n", "OFF"))
    assert (a[0] == b[0]).all() and (a[1] == b[1]).all()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("PLY\n", "starts with OFF"),
        ("OFF\n4", "are missing"),
        (SQUARE[:-4], "make 23 numbers: found"),
        (SQUARE.replace("3 0 1 2", "4 0 1 2"), "must be triangles"),
        (SQUARE.replace("3 0 1 2", "3 0 1 9"), "faces name vertices 0 … 3"),
        (SQUARE.replace("2 2 5", "2 nan 5"), "vertices must be numbers"),
        (SQUARE.replace("2 2 5", "2 two 5"), "two"),
    ],
)
def test_a_bad_mesh_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_off(text)


def test_all_bad_meshes_are_told_at_once(tmp_path: Path) -> None:
    fixture = WORKLOADS["modelnet10"].fixture
    assert fixture is not None
    fixture(tmp_path)
    folder = tmp_path / FOLDER
    (folder / "bed/test/bed_0001.off").write_text("OFF\n1 1 0\n")
    (folder / "sofa/train/sofa_0002.off").write_text("OFF\n3 1 0\n0 0 0\n0 0 0\n0 0 0\n3 0 1 2\n")
    with pytest.raises(DataError) as caught:
        WORKLOADS["modelnet10"].load(tmp_path)
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 2
    assert "bed_0001.off does not decode: 1 vertices and 1 triangles make 10 numbers: found 3" in told
    assert "sofa_0002.off does not decode: its surface has no area" in told


def test_meshes_are_read_once_for_every_cut_and_again_when_one_changes(tmp_path: Path) -> None:
    fixture = WORKLOADS["modelnet10"].fixture
    assert fixture is not None
    fixture(tmp_path)
    first = {name: WORKLOADS[name].load(tmp_path).fingerprint for name in ("modelnet10", "modelnet10-lt")}
    meshes = sorted((tmp_path / FOLDER).rglob("*.off"))
    whole = {path: path.read_bytes() for path in meshes}
    for path in meshes:
        cached.garble(path)
    assert {name: WORKLOADS[name].load(tmp_path).fingerprint for name in first} == first
    for path, content in whole.items():
        path.write_bytes(content)
    meshes[0].write_bytes(meshes[1].read_bytes())
    assert WORKLOADS["modelnet10"].load(tmp_path).fingerprint != first["modelnet10"]


def test_missing_and_unknown_classes_are_told_at_once(tmp_path: Path) -> None:
    fixture = WORKLOADS["modelnet10"].fixture
    assert fixture is not None
    fixture(tmp_path)
    folder = tmp_path / FOLDER
    (folder / "bed").rename(folder / "bench")
    with pytest.raises(DataError) as caught:
        WORKLOADS["modelnet10"].load(tmp_path)
    assert [problem.removeprefix(f"{folder}/") for problem in caught.value.problems] == [
        "bench: not one of the ten classes",
        "bed/train has no .off files",
        "bed/test has no .off files",
    ]


def test_without_files_the_way_to_them_is_said(tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(DataError, match=r"get http://3dvision\.princeton\.edu"):
            WORKLOADS["modelnet10"].load(root)


def test_features_do_not_depend_on_the_order_of_points() -> None:
    net = PointNet().eval()
    x = torch.randn(2, 3, 50)
    assert torch.allclose(net(x), net(x[:, :, torch.randperm(50)]), atol=1e-6)


def test_turning_keeps_heights_and_distances_from_the_axis() -> None:
    x = torch.randn(4, 3, 50)
    turned = turn_and_jitter(x, sd=0.0)
    assert torch.equal(turned[:, 2], x[:, 2])
    assert torch.allclose(turned[:, :2].norm(dim=1), x[:, :2].norm(dim=1), atol=1e-5)
    assert not torch.allclose(turned, x, atol=0.1)
    assert (turn_and_jitter(x, sd=0.5)[:, 2] - x[:, 2]).abs().max() <= 0.0501
