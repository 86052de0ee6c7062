"""Frozen features: vectors of a local network, computed once, kept with a checksum, and inputs of a small network."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch import nn
from transformers import BertConfig, BertModel, BertTokenizerFast, ResNetConfig, ResNetModel, ViTConfig, ViTModel

from training import fit, scored
from workloads.data import vectors
from workloads.data.custom.rows import build, load, located
from workloads.data.custom.schema import CustomData, kind_of
from workloads.encoders.frozen import texts
from workloads.encoders.named import ENCODERS
from workloads.recipe import Recipe
from workloads.trainers import start
from workloads.training import settle
from workloads.workload import DataError

pytestmark = pytest.mark.usefixtures("cache")
CPU = torch.device("cpu")
ROWS = 60
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "fine", "very", "not")


def declared(**tree: Any) -> CustomData:
    return kind_of(tree).model_validate({"name": "mine", "target": "y", "bin_width": 1.0, **tree})


@pytest.fixture
def language(tmp_path: Path) -> Path:
    """The folder of a tiny network of texts with random weights."""
    torch.manual_seed(0)
    folder = tmp_path / "language"
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(folder)
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS))
    BertTokenizerFast(vocab=str(vocabulary)).save_pretrained(folder)
    return folder


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    told = [f"{'very ' * (row % 5)}{('good', 'bad', 'fine')[row % 3]}" for row in range(ROWS)]
    path.write_text("text,y\n" + "\n".join(f"{text},{row % 5}" for row, text in enumerate(told)) + "\n")
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for row in range(ROWS):
        pixels = rng.integers(0, 30, (16, 16, 3)) + 40 * (row % 5)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{row}.png")
    path = tmp_path / "labels.csv"
    path.write_text("file,y\n" + "\n".join(f"{row}.png,{row % 5}" for row in range(ROWS)) + "\n")
    return path


def of_texts(reviews: Path, language: Path, **changes: Any) -> CustomData:
    return declared(type="text", file=str(reviews), features=str(language), **changes)


def all_inputs(own: CustomData) -> torch.Tensor:
    """Inputs of every row, in the order of the file."""
    data = load(own, None)
    assert data.drawn is not None
    parts = [split.inputs(torch.arange(len(split.y)), CPU) for split in (data.train, data.val, data.test)]
    order = np.concatenate([drawn.numbers for drawn in data.drawn]).argsort()
    return torch.cat(parts)[torch.from_numpy(order)]


def test_texts_become_the_mean_states_of_a_local_network_and_a_small_one_trains_on_them(
    reviews: Path, language: Path
) -> None:
    own = of_texts(reviews, language)
    workload = build(own, None)
    data = workload.load(None)
    assert workload.light and workload.augment is None
    assert "inputs are 16 numbers a row of a frozen encoder, computed once and kept" in data.notes
    result = scored(fit(workload, data, "l1 + lds", {"train.epochs": 2}))
    assert result["all"]["mae"] is not None
    body, tokenizer = BertModel.from_pretrained(language).eval(), BertTokenizerFast.from_pretrained(language)
    with torch.no_grad():
        one = body(**tokenizer(["very very good"], return_tensors="pt")).last_hidden_state.mean(1)
    encode = texts(language, 128, "mean").open()
    both = encode(["very very good", "very very very very very very bad"])  # padding changes nothing
    torch.testing.assert_close(both[:1], one, rtol=1e-4, atol=1e-5)


def test_vectors_are_computed_once_and_again_only_where_something_changes_them(
    reviews: Path, language: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(of_texts(reviews, language), None).fingerprint
    (held,) = cache.glob("vectors-*.npy")
    with monkeypatch.context() as patch:
        patch.setattr("workloads.encoders.frozen._network", lambda folder: pytest.fail("computed again"))
        assert load(of_texts(reviews, language), None).fingerprint == first
    found = {first}
    for changes in ({"pool": "first"}, {"longest": 4}, {"encoder": "clipped-mlp"}):
        found.add(load(of_texts(reviews, language, **changes), None).fingerprint)
    assert len(found) == 4
    assert len(list(cache.glob("vectors-*.npy"))) == 3  # a head is no matter of vectors
    network = BertModel.from_pretrained(language)
    nn.init.zeros_(network.embeddings.word_embeddings.weight)
    network.save_pretrained(language)
    assert load(of_texts(reviews, language), None).fingerprint not in found
    assert held.is_file()


@pytest.mark.parametrize("damage", [lambda c: c[:100], lambda c: c[:-1] + bytes([c[-1] ^ 1]), lambda c: b""])
def test_vectors_that_are_damaged_on_the_disk_are_computed_again(
    reviews: Path, language: Path, cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    whole = all_inputs(of_texts(reviews, language))
    (held,) = cache.glob("vectors-*.npy")
    content = held.read_bytes()
    held.write_bytes(damage(content))
    assert torch.equal(all_inputs(of_texts(reviews, language)), whole)
    assert held.read_bytes() == content


def test_images_become_the_mean_states_of_a_local_network_scaled_on_training_rows(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = tmp_path / "vision"
    ResNetModel(ResNetConfig(embedding_size=4, hidden_sizes=[4, 6], depths=[1, 1], layer_type="basic")).save_pretrained(
        folder
    )
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    own = declared(type="images", file=str(photos), folder="photos", size=16, features=str(folder))
    own = located(own, photos.parent)
    found = all_inputs(own)
    pixels = np.stack([np.asarray(Image.open(photos.parent / "photos" / f"{row}.png")) for row in range(ROWS)])
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    with torch.no_grad():
        expected = ResNetModel.from_pretrained(folder).eval()(x).last_hidden_state.mean((2, 3))
    train = load(own, None).drawn[0].numbers
    varies = expected[train].std(0) > 0
    scaled = (expected - expected[train].mean(0)) / expected[train].std(0, correction=0)
    torch.testing.assert_close(found, scaled[:, varies], rtol=1e-3, atol=1e-3)
    recipe = Recipe("boosting")
    trees = start(build(own, None), load(own, None), recipe, settle(recipe, {"train.epochs": 1}), 0, CPU)
    assert all(np.isfinite(epoch.loss) for epoch in trees)


def test_images_of_a_size_that_the_network_does_not_read_are_told(photos: Path, tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    ViTModel(ViTConfig(image_size=8, patch_size=4, **sizes)).save_pretrained(tmp_path / "vision")
    own = declared(type="images", file=str(photos), folder="photos", size=16, features=str(tmp_path / "vision"))
    with pytest.raises(DataError, match=r"the frozen encoder does not read these rows: .*16"):
        load(located(own, photos.parent), None)
    own = located(own.model_copy(update={"size": 8}), photos.parent)
    first = all_inputs(own)
    assert not torch.equal(first, all_inputs(own.model_copy(update={"pool": "first"})))


def test_all_encoders_of_tables_read_vectors(reviews: Path, language: Path) -> None:
    for name in ENCODERS["table"]:
        own = of_texts(reviews, language, encoder=name)
        encoder, dim = build(own, None).encoder(load(own, None))
        assert encoder.eval()(torch.randn(4, 16)).shape == (4, dim)


def test_a_gap_is_an_empty_text_and_noted(reviews: Path, language: Path) -> None:
    reviews.write_text(reviews.read_text().replace("\ngood,0", '\n"",0', 1))
    assert "column text: 1 rows have no text" in load(of_texts(reviews, language), None).notes


@pytest.mark.parametrize("name", ["n" * 200, "deep/" * 900 + "nowhere"])
def test_a_path_that_is_missing_is_told_with_its_end_however_long_it_is(
    reviews: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(DataError, match=f"{name[-20:]} is missing; give its path") as told:
        build(of_texts(reviews, tmp_path / name), None)
    assert len(str(told.value)) < 500


def test_folders_that_hold_no_network_are_told_before_training(reviews: Path, language: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is missing; give its path"):
        build(of_texts(reviews, tmp_path / "nowhere"), None)
    with pytest.raises(DataError, match=r"reviews\.csv is there, but is no folder; name a folder"):
        build(of_texts(reviews, reviews), None)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="empty must hold a network of transformers"):
        load(of_texts(reviews, empty), None)
    (language / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(DataError, match="language must hold a network of transformers"):
        load(of_texts(reviews, language), None)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_in_a_folder_is_never_run_nor_is_anybody_asked(
    language: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (language / "own.py").write_text("open('ran', 'w')")
    kinds = {"AutoConfig": "own.Config", "AutoModel": "own.Model", "AutoTokenizer": ["own.Slow", "own.Fast"]}
    changes = {"model_type": "own", "tokenizer_class": "Own", "auto_map": kinds}
    (language / file).write_text(json.dumps({**json.loads((language / file).read_text()), **changes}))
    monkeypatch.chdir(language)
    monkeypatch.setattr("builtins.input", lambda said: pytest.fail(said))
    with suppress(ValueError):  # a tokenizer has a file that needs no code
        texts(language, 8, "mean").open()
        assert file == "tokenizer_config.json"
    assert not (language / "ran").exists()


def test_a_folder_that_is_gone_is_told_as_a_file_of_it_is(language: Path) -> None:
    with pytest.raises(ValueError, match="nowhere cannot be read: No such file"):
        texts(language / "nowhere", 8, "mean")


def test_tensors_that_a_folder_lacks_are_told_rather_than_drawn(reviews: Path, language: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = language / "model.safetensors"
    tensors = load_file(path)
    save_file({name: value for name, value in tensors.items() if "word_embeddings" not in name}, path, {"format": "pt"})
    with pytest.raises(DataError, match=r"model\.safetensors lacks embeddings\.word_embeddings\.weight"):
        load(of_texts(reviews, language), None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"type": "text"}, "features\n  Field required"),
        ({"type": "images", "features": "f", "augment": ["flip"]}, "features are those of images as they are"),
        ({"type": "images", "features": "f", "weights": "w.pth"}, "features of a folder, which has its own"),
        ({"type": "images", "features": "f", "encoder": "resnet18"}, "no encoder 'resnet18' in type table"),
        ({"type": "text", "features": "f", "pool": "last"}, "'mean' or 'first'"),
    ],
)
def test_declarations_that_contradict_themselves_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises((ValidationError, ValueError), match=told):
        declared(file="a.csv", **changes)


def test_texts_in_another_order_have_the_same_vectors_and_the_same_cache(language: Path, cache: Path) -> None:
    some = ["good", "very bad", "good", "fine"]
    encoder = texts(language, 8, "mean")
    ahead, back = vectors.of_texts(encoder, some), vectors.of_texts(encoder, some[::-1])
    assert np.array_equal(ahead, back[::-1])
    assert np.array_equal(ahead[0], ahead[2])
    assert len(list(cache.glob("vectors-*.npy"))) == 1
