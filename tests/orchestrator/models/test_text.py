"""Models of sentence pairs: their words go with them."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from builders import study
from in_process import swept
from orchestrator.errors import BadInput
from orchestrator.models.fitting import evaluated, fit_model
from orchestrator.models.folder import TrainedModel, load_model
from orchestrator.study.spec import Study
from workloads import WORKLOADS

WORDS, VECTORS = "sts-b-dir", "sts-b-dir-minilm"


def of(folder: Path, workload: str, recipe: str) -> tuple[TrainedModel, Study]:
    """A model of made-up pairs in `folder / "model"`, and its study."""
    fixture = WORKLOADS[workload].fixture
    assert fixture is not None
    fixture(folder)
    made = study(
        workloads=[workload],
        recipes={"also": [recipe]},
        tune={"trials": 1, "rescore": 1, "select_by": "val/mse/all"},
        evaluate={"seeds": 1},
        train={"epochs": 1},
        space={},
        data=str(folder),
        storage=str(folder / "results"),
    )
    swept(made)
    fit_model(evaluated(made, recipe), folder / "model")
    return load_model(folder / "model"), made


def pairs(folder: Path) -> tuple[list[str], list[str]]:
    """The sentences of the test file."""
    lines = [line.split("\t") for line in (folder / WORDS / "test_new.tsv").read_text("utf-8").splitlines()[1:]]
    return [cells[7] for cells in lines], [cells[8] for cells in lines]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("words")


@pytest.fixture(scope="module")
def fitted(place: Path) -> tuple[TrainedModel, Study]:
    return of(place, WORDS, "mse + affine")


def test_a_folder_gives_the_predictions_of_the_ledger_to_the_bit_from_sentences(
    place: Path, fitted: tuple[TrainedModel, Study]
) -> None:
    model, made = fitted
    assert model.about.equal
    first, second = pairs(place)
    with (place / "new.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("sentence2", "other", "sentence1"), *zip(second, second, first, strict=True)])
    chosen = evaluated(made, "mse + affine")
    known = chosen.ledger.predictions(chosen.record)["pred"].to_pylist()
    assert model.predict(place / "new.csv")["prediction"].to_pylist() == known
    frame = pd.DataFrame({"sentence1": first, "sentence2": second})
    assert model.predict(frame)["prediction"].to_pylist() == known


def test_words_that_training_lacks_are_all_alike(fitted: tuple[TrainedModel, Study]) -> None:
    model, _ = fitted
    said = model.predict(
        pd.DataFrame({"sentence1": ["The zyx is eating.", "The xyz is eating.", "The man is eating."]}).assign(
            sentence2="A dog plays."
        )
    )["prediction"].to_pylist()
    assert np.isfinite(said).all()
    assert said[0] == said[1] != said[2]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"sentence1": ["A man."]}, "column 'sentence2' is missing; it has sentence1"),
        ({"sentence1": ["A man.", " "], "sentence2": ["A.", "B."]}, "row 2: 'sentence1' must be a sentence"),
    ],
)
def test_what_is_no_pair_of_sentences_is_told(
    fitted: tuple[TrainedModel, Study], frame: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        fitted[0].predict(pd.DataFrame(frame))


def test_a_folder_without_its_words_is_refused(place: Path, fitted: tuple[TrainedModel, Study]) -> None:
    model, _ = fitted
    with pytest.raises(ValueError, match="cannot be made without its data"):
        TrainedModel(model.about, model.rows, {})


@pytest.mark.slow
def test_a_model_over_sentence_vectors_reads_sentences(tmp_path: Path) -> None:
    model, made = of(tmp_path, VECTORS, "mse")
    assert model.about.equal
    chosen = evaluated(made, "mse")
    known = chosen.ledger.predictions(chosen.record)["pred"].to_numpy()
    frame = pd.DataFrame(dict(zip(("sentence1", "sentence2"), pairs(tmp_path), strict=True)))
    np.testing.assert_allclose(model.predict(frame)["prediction"].to_numpy(), known, atol=1e-4)
