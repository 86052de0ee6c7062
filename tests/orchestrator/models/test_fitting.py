"""A model is the trial of the ledger: its predictions are the same bits, wherever its folder is read."""

import csv
import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from in_process import swept
from orchestrator.cli.main import main
from orchestrator.errors import BadInput
from orchestrator.ledger.checking import verify
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.names import OF_MODELS
from orchestrator.models.fitting import evaluated, fit_model, keep_best
from orchestrator.models.folder import load_model
from orchestrator.study.spec import Study
from own_table import of, write_rows
from workloads.epoch import Epoch
from workloads.loop import Fit

RECIPES = [
    "l1",
    "huber + lds + affine",
    "hl_gauss",
    "uvote",
    "l1 + fds + isotonic",
    "boosting + lds",
    "boosting + affine",
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A swept study whose recipes cover what a model may hold; weights are kept."""
    made = of(tmp_path_factory.mktemp("own"), recipes={"also": RECIPES}, evaluate={"seeds": 2, "keep_models": "all"})
    swept(made)
    return made


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kept", [True, False], ids=["from kept weights", "trained again"])
def test_a_model_gives_the_predictions_of_the_ledger_to_the_bit(
    study: Study, recipe: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kept:
        monkeypatch.setattr(Fit, "__iter__", lambda self: pytest.fail("nothing is to be trained"))
    else:
        monkeypatch.setattr("orchestrator.ledger.models.find", lambda *_: None)
    chosen = evaluated(study, recipe, seed=1)
    model = fit_model(chosen, tmp_path / "model")
    assert model.about.equal
    table = chosen.ledger.predictions(chosen.record)
    rows = write_rows(tmp_path / "new.csv")
    with (tmp_path / "new.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["kind", "z", "x"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows[at] for at in table["file_row"].to_pylist())
    again = load_model(tmp_path / "model").predict(tmp_path / "new.csv")
    assert again["prediction"].to_pylist() == table["pred"].to_pylist()


@pytest.mark.parametrize(
    ("lacking", "told"), [({1}, None), ({1, 2}, "own/l1 cannot be trained again: .*no room"), (set(), None)]
)
def test_a_model_whose_batch_does_not_fit_into_memory_is_trained_in_pieces(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: set[int], told: str | None
) -> None:
    tried: list[int] = []

    def steps(fit: Fit) -> Iterator[Epoch]:
        tried.append(fit.pieces)
        if fit.pieces in lacking:
            raise torch.OutOfMemoryError("no room")
        return whole(fit)

    whole = Fit.__iter__
    monkeypatch.setattr(Fit, "__iter__", steps)
    monkeypatch.setattr("orchestrator.ledger.models.find", lambda *_: None)
    with pytest.raises(BadInput, match=told) if told else nullcontext():
        fit_model(evaluated(study, "l1"), tmp_path / "model")
    assert tried == ([1, 2] if lacking else [1])


def test_kept_weights_are_read_by_verify_and_one_bit_is_told(study: Study) -> None:
    store = Ledger(study.storage).store
    keys = store.keys(OF_MODELS)
    assert len(keys) == 2 * len(RECIPES)
    assert not verify(Ledger(store)).damage
    whole = store.get(keys[0]) or b""
    store.put(keys[0], whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        assert [line for line in verify(Ledger(store)).damage if keys[0] in line]
    finally:
        store.put(keys[0], whole)


def test_of_every_cell_the_best_model_stays(tmp_path: Path) -> None:
    made = of(tmp_path, evaluate={"seeds": 3, "keep_models": "best"})
    planner, ledger = swept(made), Ledger(made.storage)
    assert len(ledger.store.keys(OF_MODELS)) == 3
    keep_best(made, planner.plans, ledger)
    (key,) = ledger.store.keys(OF_MODELS)
    scores = {record.trial_id: record.score("val/mae/all") for record in planner.plans[0].records("evaluate")}
    assert key.split("/")[-1].split(".")[0] == min(scores, key=lambda trial: scores[trial] or 0)
    assert evaluated(made, "l1").record.trial_id in key, "the model that is fitted by default is the one that is kept"


def test_keeping_models_changes_no_trial_and_no_stored_study(tmp_path: Path) -> None:
    plain, keeping = of(tmp_path), of(tmp_path, evaluate={"seeds": 2, "keep_models": "all"})
    assert plain.definition() == keeping.definition()
    assert "keep_models" not in plain.model_dump_json()
    assert Study.of(json.loads(keeping.model_dump_json())) == keeping


@pytest.fixture(scope="module")
def folder(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "model"
    fit_model(evaluated(study, "l1"), out)
    return out


def test_a_model_is_a_folder_without_pickles_that_says_what_it_is(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "model.json",
        "preprocessing.json",
        "setting.yaml",
        "README.md",
    }
    card = (folder / "README.md").read_text("utf-8")
    for heading in ("## Data", "## Errors by label", "## Intervals", "## Intended use", "## Limits"):
        assert heading in card
    rows = json.loads((folder / "preprocessing.json").read_text("utf-8"))
    assert rows["sources"] == {"x": None, "z": None, "kind": ["blue", "green", "red"]}
    assert "rows.csv" not in (folder / "model.json").read_text("utf-8"), "paths of the machine stay there"


def test_the_setting_of_a_model_is_a_study_whose_trials_are_all_there(study: Study, folder: Path) -> None:
    from orchestrator.api import outcome

    again = Study.load(folder / "setting.yaml", [f"storage={study.storage}"], environ={})
    state = outcome(again, write=False)
    assert state.planner.next() is None
    assert [plan.chosen is not None and len(plan.records("evaluate")) for plan in state.planner.plans] == [2]


def test_intervals_of_a_region_hold_the_validation_labels_they_were_made_of(study: Study, folder: Path) -> None:
    chosen, model = evaluated(study, "l1"), load_model(folder)
    found = chosen.ledger.validation(chosen.record)
    assert found is not None and model.calibration is not None
    widths = model.calibration.widths(0.8)
    assert widths, "some region has enough rows"
    for region, width in widths.items():
        errors = model.calibration.errors[model.calibration.regions == region]
        assert (errors <= width).sum() >= 0.8 * (len(errors) + 1) - 1
    assert not model.calibration.widths(0.999), "no region has the thousand rows that this takes"


WRONG = {
    "a missing column": ("x,kind\n1,red\n", "column 'z' is missing"),
    "a foreign column": ("x,z,kind,w\n1,2,red,3\n", "the model does not know w"),
    "words among numbers": ("x,z,kind\n1,2,red\nthick,3,red\n", "row 2: 'x' must be a number, or empty: got 'thick'"),
    "no rows": ("x,z,kind\n", "has no rows"),
    "infinity": ("x,z,kind\ninf,2,red\n", "row 1: 'x' must be a number"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_table_is_one_message_and_nothing_is_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    content, message = WRONG[what]
    (tmp_path / "new.csv").write_text(content, encoding="utf-8")
    assert main(["predict", str(folder), str(tmp_path / "new.csv"), "--out", str(tmp_path / "out.csv")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def test_a_new_table_may_have_gaps_new_words_and_the_columns_that_were_left_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("note,kind,z,x,y\n9,red,,1,2\n9,pink,?,,\n", encoding="utf-8")
    found = load_model(folder).predict(tmp_path / "new.csv")
    assert found["row"].to_pylist() == [0, 1]
    assert np.isfinite(found["prediction"].to_numpy()).all()


def test_what_is_printed_is_what_python_gives(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pandas as pd

    frame = pd.DataFrame({"x": [0.5, -1.0], "z": [None, 2.0], "kind": ["red", "blue"]})
    frame.to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", str(folder), str(tmp_path / "new.csv")]) == 0
    printed = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [float(row["prediction"]) for row in printed] == load_model(folder).predict(frame)["prediction"].to_pylist()


def test_a_folder_of_another_version_or_a_damaged_one_is_one_message(folder: Path, tmp_path: Path) -> None:
    import shutil

    for name, change, message in (
        ("model.json", lambda text: text.replace(b'"format": 1', b'"format": 2'), "must be of format 1: got 2"),
        ("model.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is damaged"),
        ("model.json", lambda text: text.replace(b'"l1"', b'"l7"'), "no objective"),
        ("preprocessing.json", lambda text: b"{}", "cannot be read as a model"),
    ):
        place = tmp_path / name
        shutil.copytree(folder, place, dirs_exist_ok=True)
        (place / name).write_bytes(change((place / name).read_bytes()))
        with pytest.raises(BadInput, match=message):
            load_model(place)
        shutil.rmtree(place)
    with pytest.raises(BadInput, match="must be the folder of a model"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--recipe", "l7"], "no objective, method or plan 'l7'"),
        (["--recipe", "mse"], "no recipe 'mse' in the study"),
        (["--recipe", "l1", "--seed", "9"], "--seed is one of 0, 1"),
        (["--recipe", "l1", "--workload", "other"], "no workload 'other'"),
        (["--recipe", "boosting + lds", "--onnx"], "--onnx writes networks that predict a label a row"),
    ],
)
def test_what_cannot_be_fitted_is_one_message(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    (tmp_path / "study.json").write_text(study.model_dump_json(), encoding="utf-8")
    assert main(["fit", str(tmp_path / "study.json"), *args, "--out", str(tmp_path / "model")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_a_folder_that_holds_something_is_left_alone(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.json").write_text(study.model_dump_json(), encoding="utf-8")
    assert main(["fit", str(tmp_path / "study.json"), "--recipe", "l1", "--out", str(tmp_path)]) == 2
    assert "holds something" in capsys.readouterr().err
