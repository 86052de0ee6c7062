"""Models whose labels are maps: every pixel of new images is predicted, the scored ones as the ledger has them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from builders import study
from in_process import swept
from orchestrator.cli.main import main
from orchestrator.errors import BadInput
from orchestrator.models.fitting import Evaluated, evaluated, fit_model
from orchestrator.models.folder import load_model
from orchestrator.study.cells import data_root, load_data
from workloads.workload import Maps

ROWS, SIDE = 40, 16
RECIPES = ["l1 + lds", "huber + fds"]


def write_rooms(folder: Path) -> None:
    """A table of rooms whose images are as bright as they are deep."""
    lines = ["image,depth,part"]
    for row in range(ROWS):
        ramp = 400 + np.linspace(0, 1, SIDE) ** 3 * np.ones((SIDE, 1)) * (400 + 100 * row)
        grey = (ramp[..., None] // 20).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
        Image.fromarray(grey).save(folder / f"{row}.png")
        Image.fromarray(ramp.astype(np.uint16)).save(folder / f"{row}_depth.png")
        lines.append(f"{row}.png,{row}_depth.png,{('train', 'train', 'val', 'test')[row % 4]}")
    (folder / "rooms.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rooms")


@pytest.fixture(scope="module")
def chosen(place: Path) -> dict[str, Evaluated]:
    write_rooms(place)
    own = {"name": "rooms", "type": "maps", "file": str(place / "rooms.csv"), "column": "image", "target": "depth"}
    grid = {"split": "part", "bin_width": 0.5, "low": 0.0, "high": 5.0, "size": SIDE, "scale": 0.001}
    made = study(
        workloads=[{**own, **grid}],
        recipes={"also": RECIPES},
        tune={"trials": 1, "rescore": 1, "select_by": "val/rmse/all"},
        evaluate={"seeds": 1, "keep_models": "all"},
        train={"epochs": 2, "batch_size": 8},
        space={},
        storage=str(place / "results"),
    )
    swept(made)
    return {recipe: evaluated(made, recipe) for recipe in RECIPES}


def new_rows(place: Path) -> Path:
    """The test images as a table of their own."""
    path = place / "new.csv"
    path.write_text("image\n" + "".join(f"{row}.png\n" for row in range(3, ROWS, 4)), encoding="utf-8")
    return path


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_scored_pixels_of_a_map_are_those_of_the_ledger_to_the_bit(
    chosen: dict[str, Evaluated], recipe: str, place: Path, tmp_path: Path
) -> None:
    model = fit_model(chosen[recipe], tmp_path / "model")
    assert model.about.equal
    found = load_model(tmp_path / "model").maps(new_rows(place))
    assert found["prediction"].shape == found["region"].shape == (ROWS // 4, SIDE, SIDE)
    of = chosen[recipe]
    test = load_data(of.workload, data_root(of.study), of.study.storage).test
    assert isinstance(test, Maps)
    known = of.ledger.predictions(of.record)["pred"].to_pylist()
    assert found["prediction"].flatten()[test.at.numpy()].tolist() == known


@pytest.fixture(scope="module")
def folder(chosen: dict[str, Evaluated], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "model"
    fit_model(chosen[RECIPES[0]], out)
    return out


def test_the_command_writes_maps_into_an_npz(
    folder: Path, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(folder), str(new_rows(place)), "--out", str(tmp_path / "maps.npz")]) == 0
    expected = load_model(folder).maps(new_rows(place))
    with np.load(tmp_path / "maps.npz", allow_pickle=False) as written:
        assert {name: written[name].tolist() for name in written} == {k: v.tolist() for k, v in expected.items()}
    for wrong in ([], ["--out", str(tmp_path / "maps.csv")]):
        assert main(["predict", str(folder), str(new_rows(place)), *wrong]) == 2
        assert "--out names an .npz file where labels are maps" in capsys.readouterr().err


def test_what_takes_a_label_a_row_is_refused_in_one_message(
    folder: Path, chosen: dict[str, Evaluated], place: Path, tmp_path: Path
) -> None:
    model = load_model(folder)
    with pytest.raises(BadInput, match=r"the model predicts maps: `maps\(rows\)` gives them"):
        model.predict(new_rows(place))
    from orchestrator.models.onnx import export_onnx

    with pytest.raises(BadInput, match="--onnx writes networks that predict a label a row"):
        export_onnx(model, torch.zeros(1), tmp_path)
    assert "training pixels" in (folder / "README.md").read_text("utf-8")
