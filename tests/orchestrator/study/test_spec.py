import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from builders import study
from orchestrator.errors import BadInput
from orchestrator.study.rules import RULES
from orchestrator.study.spec import Study, shipped


def write(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


SMALL = "study: s\nworkloads: [nhanes-sbp]\nrecipes: {objectives: [l1]}\n"


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_study_loads_and_is_named_like_its_file(name: str) -> None:
    assert Study.load(name, environ={}).study == name


def test_an_override_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL + "tune: {trials: 1}\n")
    environ = {"TAILSWEEP_TUNE__TRIALS": "2", "TAILSWEEP_EVALUATE__SEEDS": "7", "TAILSWEEP_STORAGE": "there"}
    made = Study.load(path, ["tune.trials=3"], environ)
    assert (made.tune.trials, made.evaluate.seeds, made.storage) == (3, 7, "there")


def test_keys_of_the_space_keep_their_dots(tmp_path: Path) -> None:
    made = Study.load(
        write(tmp_path, SMALL),
        ["space.lds.width=7", "train.nhanes-sbp.lr=0.01"],
        {"TAILSWEEP_SPACE__LDS__SIGMA": "1.5"},
    )
    assert dict(made.space) == {"lds.width": 7, "lds.sigma": 1.5}
    assert made.train == {"nhanes-sbp": {"lr": 0.01}}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["tune.trails=3"], "unknown key 'trails' in tune; known: trials, .*did you mean 'trials'"),
        (["tunes.trials=3"], "unknown key 'tunes' in a study; .*did you mean 'tune'"),
        (["tune.trials=0"], "tune.trials: .*greater than or equal to 1: got 0"),
        (["tune.trials=two"], "tune.trials: .*: got 'two'"),
        (["tune.trials=2.5"], "tune.trials: .*: got 2.5"),
        (["evaluate.seeds=0"], "evaluate.seeds: .*: got 0"),
        (["tune.sampler=tpo"], "tune.sampler is one of tpe, random, .*: got 'tpo'"),
        (["study=Not A Name"], "study: .*: got 'Not A Name'"),
        (["resources.gpus=-1"], "resources.gpus: .*: got -1"),
        (["space.lds.width=[]"], "space.lds.width"),
        (["tune"], "--set takes key=value: got 'tune'"),
        (["tune.trials.more=1", "tune.trials=1"], "trials"),
        (["workloads=[]"], "workloads"),
    ],
)
def test_a_wrong_setting_is_answered_with_the_law_and_the_value(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        Study.load(write(tmp_path, SMALL + "tune: {trials: 1}\n"), overrides, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: [", "must be YAML"),
        ("- a\n- b\n", "must hold a mapping"),
        ("study: s\nworkloads: [w]\n", "the key 'recipes' is required in a study"),
        ("!!python/object/apply:os.system ['true']", "must be YAML"),
    ],
)
def test_a_file_that_is_no_study_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Study.load(write(tmp_path, text), environ={})


def test_an_unknown_study_is_answered_with_the_shipped_ones() -> None:
    with pytest.raises(BadInput, match=r"shipped: .*did you mean 'quickstart'"):
        Study.load("quickstrat", environ={})


def test_a_misspelt_variable_of_ours_is_not_ignored(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="TAILSWEEP_TUEN__TRIALS: unknown key 'tuen'"):
        Study.load(write(tmp_path, SMALL), environ={"TAILSWEEP_TUEN__TRIALS": "2"})


def test_a_variable_of_the_node_is_no_part_of_a_study(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL)
    assert Study.load(path, environ={"TAILSWEEP_CACHE": "/scratch"}) == Study.load(path, environ={})


def test_budgets_and_places_are_not_part_of_the_definition() -> None:
    tune = {"trials": 50, "parallel": 2, "rescore": 5, "rescore_seeds": 4, "replicates": 3}
    changed = study(evaluate={"seeds": 9}, storage="there", tune=tune, resources={"cpus": 2})
    assert study().definition() == changed.definition()
    for other in ({"train": {"epochs": 3}}, {"replicate": 1}, {"protocol": 1}):
        assert study().definition() != study(**other).definition()


def test_the_first_protocol_rescores_nothing_and_refuses_to() -> None:
    assert study(protocol=1).tune.rescore == 1
    assert Study.of(json.loads(study(protocol=1).model_dump_json())) == study(protocol=1)
    with pytest.raises(BadInput, match=r"tune\.rescore must be 1 under protocol: 1.*got 3"):
        study(protocol=1, tune={"rescore": 3})


def test_the_samplers_and_schedulers_of_the_file_are_those_that_exist() -> None:
    from orchestrator.engine.early_stopping import MAKERS
    from orchestrator.study.samplers import FAMILIES, sampler_named

    protocols = set(get_args(Study.model_fields["protocol"].annotation))
    assert protocols == set().union(*(sampler_named(name).protocols for name in FAMILIES))
    assert MAKERS.keys() == RULES.keys()
    with pytest.raises(BadInput, match=r"tune\.scheduler is one of none, halving, asha, hyperband, median: got 'ash'"):
        study(tune={"scheduler": "ash"})


def test_a_declared_data_set_survives_being_written_and_read() -> None:
    own = {
        "name": "mine",
        "type": "images",
        "file": "a.csv",
        "target": "y",
        "bin_width": 1,
        "augment": ["flip", "crop"],
    }
    made = study(workloads=["nhanes-sbp", own])
    again = Study.of(json.loads(made.model_dump_json()))
    assert again == made
    assert again.definition() == made.definition()
    assert made.names == ("nhanes-sbp", "mine")


def test_a_study_of_known_names_is_read_without_torch() -> None:
    load = "from orchestrator.study.spec import Study; Study.load('quickstart')"
    code = f"import sys; {load}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_study_remembers_where_its_plugins_lie(tmp_path: Path) -> None:
    path = write(tmp_path, SMALL + "plugins: [mine.part]\n")
    assert Study.load(path, environ={}).plugins_from is None
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").touch()
    made = Study.load(path, environ={})
    assert made.plugins_from == str(tmp_path)
    assert Study.of(json.loads(made.model_dump_json())) == made
    assert made.definition() == Study.load(path, ["plugins_from=elsewhere"], environ={}).definition()
    assert Study.load(path, ["plugins_from=elsewhere"], environ={}).plugins_from == str(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("uri", "way"),
    [
        ("http://me:hunter2@mlflow:5000", "MLFLOW_TRACKING_PASSWORD"),
        ("HTTPS://hunter2@mlflow", "MLFLOW_TRACKING_TOKEN"),
        ("http://me:hun/ter2?hunter2@mlflow", "MLFLOW_TRACKING_PASSWORD"),
        ("https://mlflow/?access_token=hunter2", "MLFLOW_TRACKING_TOKEN"),
        ("postgresql+psycopg2://me:hunter2@base/mlflow", "PGPASSWORD"),
        ("mysql://base/mlflow?user=me&password=hunter2", "client of the database"),
    ],
)
def test_a_tracking_uri_with_a_password_is_refused_without_showing_it(tmp_path: Path, uri: str, way: str) -> None:
    path = write(tmp_path, SMALL)
    for overrides, environ in (([f"tracking.uri={uri}"], {}), ([], {"TAILSWEEP_TRACKING__URI": uri})):
        with pytest.raises(BadInput, match=way) as said:
            Study.load(path, overrides, environ=environ)
        assert "hunter2" not in str(said.value)


@pytest.mark.parametrize(
    "uri",
    ["http://mlflow:5000", "postgresql://me@base:5432/mlflow", "sqlite:////a:b@c/mlflow.db", "file:///a:b@c", None],
)
def test_a_tracking_uri_without_a_password_is_taken(uri: str | None) -> None:
    assert study(tracking={"uri": uri}).tracking.uri == uri
