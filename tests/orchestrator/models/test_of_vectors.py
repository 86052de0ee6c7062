"""A model on vectors of a frozen network: its folder needs neither that network nor where it lay."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from builders import study
from in_process import swept
from orchestrator.models.fitting import _without_places, evaluated, fit_model
from orchestrator.models.folder import load_model
from workloads.data.custom.schema import kind_of

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "very")


@pytest.mark.usefixtures("cache")
def test_it_predicts_prepared_vectors_to_the_bit_after_the_network_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    folder = tmp_path / "network"
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(folder)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(folder)
    told = [f"{'very ' * (row % 4)}{('good', 'bad')[row % 2]},{row % 4}" for row in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,y", *told]) + "\n")
    own = {"name": "words", "type": "text", "target": "y", "bin_width": 1.0, "features": str(folder)}
    made = study(
        workloads=[{**own, "file": str(tmp_path / "rows.csv")}],
        recipes={"also": ["l1"]},
        tune={"trials": 1, "rescore": 1},
        evaluate={"seeds": 1},
        storage=str(tmp_path / "results"),
    )
    swept(made)
    chosen = evaluated(made, "l1")
    model = fit_model(chosen, tmp_path / "model")
    assert model.about.equal and str(tmp_path) not in (tmp_path / "model" / "model.json").read_text()
    folder.rename(tmp_path / "gone")
    monkeypatch.setitem(sys.modules, "transformers", None)
    x = np.random.default_rng(0).normal(size=(3, *model.about.inputs)).astype(np.float32)
    np.savez(tmp_path / "new.npz", x=x)
    assert load_model(tmp_path / "model").predict(tmp_path / "new.npz").num_rows == 3


def test_it_takes_no_timm_to_read_a_model_of_vectors_that_timm_made(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {"name": "mine", "type": "images", "file": "a.csv", "target": "y", "bin_width": 1.0, "weights": "w.pth"}
    with monkeypatch.context() as patch:
        patch.setattr("workloads.data.custom.schema.settings", lambda name: None)
        own = kind_of(tree).model_validate({**tree, "features": "timm/test_resnet"})
    monkeypatch.setitem(sys.modules, "timm", None)
    written = _without_places(own)
    read = kind_of(written).model_validate(written)
    assert (read.named, written["weights"]) == (own.named, None)
