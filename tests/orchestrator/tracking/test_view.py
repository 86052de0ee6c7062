"""What people see first in MLflow: rows under short names, a description, a view that the page can read."""

import base64
import json
import shutil
import zlib
from pathlib import Path

import mlflow
import pytest

from in_process import swept
from orchestrator.api import outcome
from orchestrator.cli.main import main
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.outputs import FORMATS
from orchestrator.study.spec import Study
from orchestrator.tracking import track
from orchestrator.tracking._view import DESCRIPTION, VIEW, description
from orchestrator.tracking.mlflow import CONTROL, KIND, NAME, REPEATED, ROWS, links, tracking_uri
from own_table import of

ROWS_OF_IT = [(ROWS, "own/l1"), (ROWS, "own/l1 (replicate 1)"), (REPEATED, "own/l1")]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def tracked(made: Study) -> Study:
    """The study, swept and sent with its tables and some page."""
    swept(made)
    state = outcome(made)
    for name, kind in (("table.md", "md"), ("tidy.json", "json")):
        content = FORMATS[kind](state.results)
        assert isinstance(content, str)
        state.ledger.store.put(f"own/{name}", content.encode())
    state.ledger.store.put("own/report.html", b"<!doctype html>")
    assert track(made, Ledger(made.storage)) > 0
    return made


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Study:
    """A swept study with its tables, tracked."""
    folder = tmp_path_factory.mktemp("own")
    with_database(folder, empty_mlflow)
    return tracked(of(folder, recipes={"also": ["l1", "l1 + lds"]}, tune={"trials": 2}))


def with_database(folder: Path, empty: Path) -> None:
    """The storage of a study of this folder, with a database that is empty."""
    (folder / "results").mkdir()
    shutil.copy(empty, folder / "results" / "mlflow.db")


def test_a_row_of_several_replicates_is_a_run_beside_those_of_the_replicates(
    tmp_path: Path, empty_mlflow: Path
) -> None:
    with_database(tmp_path, empty_mlflow)
    made = tracked(of(tmp_path, tune={"trials": 1, "replicates": 2}, evaluate={"seeds": 1}))
    found = {(run.data.tags[KIND], run.data.tags[NAME]): run.data.metrics for run in runs(made)}
    once, again, row = (found[kind, name] for kind, name in ROWS_OF_IT)
    assert once["seeds"] == again["seeds"] == 1.0 and row["seeds"] == 2.0
    assert row["few mae"] == pytest.approx((once["test/mae/few/mean"] + again["test/mae/few/mean"]) / 2)
    assert "few mae" not in once


def runs(study: Study) -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient(tracking_uri(study))
    experiment = client.get_experiment_by_name(study.study)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.`{KIND}` LIKE '{ROWS}%'", max_results=1000))


def test_a_row_carries_every_setting_that_acts_and_its_comparison_at_step_0(study: Study) -> None:
    plan = next(plan for plan in outcome(study).planner.plans if str(plan.cell.recipe) == "l1 + lds")
    (row,) = [run for run in runs(study) if run.data.tags[NAME] == plan.cell.name]
    assert row.info.run_name == "l1 + lds"
    assert row.data.params["lds.kernel"] == str((plan.settings or {})["lds.kernel"])
    assert "train.batch_size" in row.data.params, "those with their default are there, too"
    metrics = row.data.metrics
    assert metrics["seeds"] == 2
    assert metrics["low"] <= metrics["change"] <= metrics["high"]
    history = mlflow.MlflowClient(tracking_uri(study)).get_metric_history(row.info.run_id, "change")
    assert [metric.step for metric in history] == [0]


def test_controls_are_rows_and_ten_more_runs_change_nothing(study: Study) -> None:
    before = {run.info.run_id: (run.data.metrics, run.data.params, run.data.tags) for run in runs(study)}
    assert any(tags[KIND] == CONTROL and tags["recipe"] == "control: ridge" for _, _, tags in before.values())
    for _ in range(10):
        assert track(study, Ledger(study.storage)) == 0
    assert {run.info.run_id: (run.data.metrics, run.data.params, run.data.tags) for run in runs(study)} == before
    client = mlflow.MlflowClient(tracking_uri(study))
    for run_id in before:
        assert all(len(client.get_metric_history(run_id, name)) == 1 for name in ("test/mae/all/mean",))


def test_the_experiment_says_what_came_out_and_links_to_a_view_of_it(study: Study) -> None:
    client = mlflow.MlflowClient(tracking_uri(study))
    experiment = client.get_experiment_by_name(study.study)
    assert experiment is not None
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.tags["mlflow.note.content"].startswith("Best recipe in ")
    state = experiment.tags[f"{VIEW}tailsweep-own"]
    view = json.loads(zlib.decompress(base64.b64decode(state.removeprefix("deflate;"))))
    shown = client.search_runs([experiment.experiment_id], view["searchFilter"], order_by=[f"{view['orderByKey']} ASC"])
    column = view["orderByKey"].removeprefix("metrics.").strip("`")
    assert len(shown) == len(runs(study))
    values = [run.data.metrics[column] for run in shown]
    assert values == sorted(values)
    (link,) = links(tracking_uri(study), "http://127.0.0.1:5000")
    assert link.startswith(
        f"own: http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey="
    )


def test_a_row_has_its_pictures_and_a_trial_the_memory_that_it_took(study: Study) -> None:
    client = mlflow.MlflowClient(tracking_uri(study))
    for row in runs(study):
        drawn = {file.path: file.file_size for file in client.list_artifacts(row.info.run_id)}
        of_a_cell = row.data.tags[KIND] == ROWS
        assert set(drawn) == ({"error-by-label.png", "learning-curves.png"} if of_a_cell else set())
        assert all(size > 5_000 for size in drawn.values())
        for trial in client.search_runs([row.info.experiment_id], f"tags.`mlflow.parentRunId` = '{row.info.run_id}'"):
            assert trial.data.metrics["system/memory_megabytes"] > 0


def test_a_row_links_to_the_report_unless_somebody_described_it(study: Study) -> None:
    client = mlflow.MlflowClient(tracking_uri(study))
    described, *others = runs(study)
    report = client.search_runs([described.info.experiment_id], f"tags.`{KIND}` = 'study'")[0].info
    where = f"#/experiments/{report.experiment_id}/runs/{report.run_id}/artifacts/report.html"
    assert "report.html" in {file.path for file in client.list_artifacts(report.run_id)}
    for row in (described, *others):
        assert row.data.tags["mlflow.note.content"].startswith(f"[The study's report]({where}?")
    client.set_tag(described.info.run_id, "mlflow.note.content", "mine")
    track(study, Ledger(study.storage))
    assert client.get_run(described.info.run_id).data.tags["mlflow.note.content"] == "mine"


def test_another_selected_setting_becomes_another_run_of_the_row(study: Study, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(study.model_dump_json(), encoding="utf-8")
    client = mlflow.MlflowClient(tracking_uri(study))
    row = next(run for run in runs(study) if run.data.tags[NAME] == "own/l1")
    client.set_tag(row.info.run_id, "tailsweep.selected", "another")
    assert main(["track", str(tmp_path / "study.json")]) == 0
    (again,) = [run for run in runs(study) if run.data.tags[NAME] == "own/l1"]
    assert again.info.run_id != row.info.run_id
    children = client.search_runs(
        again.info.experiment_id.split(), f"tags.`mlflow.parentRunId` = '{again.info.run_id}'", max_results=100
    )
    assert len(children) == len(client.search_runs(again.info.experiment_id.split(), "tags.recipe = 'l1'")) - 1


def test_a_long_description_is_cut_at_a_line() -> None:
    said = description("# study\n\n## own\n\n" + "| a | b |\n" * 2000)
    assert len(said) <= DESCRIPTION
    assert said.startswith("| a | b |\n")
    assert "The rest is in table.md" in said
    assert set(said.split("\n…")[0].splitlines()) == {"| a | b |"}
