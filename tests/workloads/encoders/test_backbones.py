"""Networks of timm by name: features before the classifier, with the weights of a local file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from builders import study
from orchestrator.errors import BadInput
from orchestrator.study.cells import sketch
from training import fit, scored
from workloads import WORKLOADS
from workloads.data.custom.rows import build, load, located
from workloads.data.custom.schema import CustomData, kind_of
from workloads.encoders.backbones import Backbone, settings
from workloads.extras import EXTRAS
from workloads.workload import DataError

try:
    settings("timm/test_resnet")
    REASON = ""
except ValueError as err:
    REASON = str(err)
has_timm = pytest.mark.skipif(bool(REASON), reason=REASON)
pytestmark = pytest.mark.usefixtures("cache")
SIZE, ROWS = 32, 60


def declared(**tree: Any) -> CustomData:
    own = {"name": "mine", "type": "images", "target": "y", "bin_width": 1.0, "folder": "photos", "size": SIZE, **tree}
    return kind_of(own).model_validate(own)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for row in range(ROWS):
        Image.fromarray(np.full((SIZE, SIZE, 3), 40 * (row % 5), np.uint8)).save(folder / f"{row}.png")
    path = tmp_path / "labels.csv"
    path.write_text("file,y\n" + "\n".join(f"{row}.png,{row % 5}" for row in range(ROWS)) + "\n")
    return path


def saved(name: str, path: Path, **changes: Any) -> Any:
    """A network with random weights and its classifier, and its weights in a file."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = timm.create_model(name, **changes).eval()
    state = network.state_dict()
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return network


@has_timm
@pytest.mark.parametrize(("name", "changes"), [("test_resnet", {}), ("test_vit", {"img_size": SIZE})])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_a_file_give_what_the_network_gives_its_classifier(
    name: str, changes: dict[str, Any], suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"w{suffix}"
    network = saved(name, path, **changes)
    known = settings(f"timm/{name}")
    encoder = Backbone(f"timm/{name}", SIZE, path).eval()
    x = torch.randint(0, 256, (3, 3, SIZE, SIZE), dtype=torch.uint8)
    mean, sd = (torch.tensor(values).view(3, 1, 1) for values in (known.mean, known.std))
    with torch.no_grad():
        expected = network.forward_head(network.forward_features((x / 255 - mean) / sd), pre_logits=True)
        assert encoder(x).shape == (3, encoder.dim)
        torch.testing.assert_close(encoder(x), expected, rtol=1e-4, atol=1e-5)


@has_timm
def test_a_declared_data_set_trains_one_from_weights_or_from_random_ones_which_is_told(photos: Path) -> None:
    saved("test_resnet", photos.parent / "w.safetensors")
    plain, given = (
        located(declared(file=str(photos), encoder="timm/test_resnet", **more), photos.parent)
        for more in ({}, {"weights": "w.safetensors"})
    )
    scratch, loaded = load(plain, None), load(given, None)
    assert scratch.fingerprint != loaded.fingerprint
    told = "timm/test_resnet starts from random weights; `weights` names a file of others"
    assert told in scratch.notes and told not in loaded.notes
    workload = build(given, None)
    assert workload.needs == ("timm",)
    assert scored(fit(workload, loaded, "l1", {"train.batch_size": 32}))["all"]["mae"] is not None


@has_timm
def test_frozen_features_take_its_weights_and_are_computed_once(photos: Path, cache: Path) -> None:
    network = saved("test_resnet", photos.parent / "w.pth")
    own = declared(file=str(photos), features="timm/test_resnet", weights="w.pth")
    own = located(own, photos.parent)
    data = load(own, None)
    assert (build(own, None).needs, len(list(cache.glob("vectors-*.npy")))) == (("timm",), 1)
    assert f"inputs are {network.num_features} numbers a row of a frozen encoder, computed once and kept" in data.notes
    saved("test_resnet", photos.parent / "w.pth", num_classes=7)
    assert load(own, None).fingerprint != data.fingerprint
    with pytest.raises(ValidationError, match="features of timm/test_resnet need weights: name a file of them"):
        declared(file=str(photos), features="timm/test_resnet")


@has_timm
def test_weights_of_another_network_and_files_that_are_none_are_told(photos: Path) -> None:
    saved("test_vit", photos.parent / "w.safetensors", img_size=SIZE)
    own = declared(file=str(photos), encoder="timm/test_resnet", weights="w.safetensors")
    with pytest.raises(DataError, match=r"must hold weights of timm/test_resnet at this size of images: .*issing key"):
        load(located(own, photos.parent), None)
    (photos.parent / "w.safetensors").write_bytes(b"\x80\x04no tensors")
    for said in ({"encoder": "timm/test_resnet"}, {"features": "timm/test_resnet"}):
        own = declared(file=str(photos), weights="w.safetensors", **said)
        with pytest.raises(DataError, match="must hold weights of timm/test_resnet"):
            load(located(own, photos.parent), None)


@has_timm
@pytest.mark.parametrize("name", ["resnet_18", "resnet18.nowhere", "hf-hub:acme/net", "local-dir:/net", ""])
@pytest.mark.parametrize("key", ["encoder", "features"])
def test_a_name_that_timm_does_not_have_is_told_with_near_ones_and_fetches_nothing(name: str, key: str) -> None:
    with pytest.raises(ValidationError, match=f"timm has no network '{name}'; near names: ") as caught:
        declared(file="a.csv", weights="w.pth", **{key: f"timm/{name}"})
    if name.startswith("resnet"):
        assert "timm/resnet18" in str(caught.value)


@has_timm
def test_a_shipped_data_set_of_images_takes_a_name_of_timm() -> None:
    assert WORKLOADS["agedb-dir@timm/test_resnet"].needs[-1] == "timm"
    assert "agedb-dir@timm/test_resnot" not in WORKLOADS and "nhanes-sbp@timm/test_resnet" not in WORKLOADS


@has_timm
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("agedb-dir@timm/resnet_18", "timm has no network 'resnet_18'; near names: .*timm/resnet18"),
        ("nhanes-sbp@timm/test_resnet", "no encoder 'timm/test_resnet' in type table"),
        ("nowhere@timm/test_resnet", "no workload 'nowhere@timm/test_resnet' in workloads"),
    ],
)
def test_a_study_is_told_what_is_wrong_with_the_network_of_a_shipped_data_set(name: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        sketch(study(workloads=[name]))


def test_without_timm_a_name_of_it_is_told_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from workloads.encoders import backbones

    settings.cache_clear()
    backbones._timm.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ValidationError, match=rf"pip install 'tailsweep\[{EXTRAS['timm']}\]'"):
        declared(file="a.csv", encoder="timm/test_resnet")
    with pytest.raises(ValidationError, match="known: cnn, resnet18, resnet32, resnet50, timm/NAME"):
        declared(file="a.csv", encoder="resnet19")
    with pytest.raises(BadInput, match=rf"agedb-dir@timm/test_resnet.*pip install 'tailsweep\[{EXTRAS['timm']}\]'"):
        sketch(study(workloads=["agedb-dir@timm/test_resnet"]))
