"""The projection into a real MLflow on SQLite."""

import shutil
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from sqlalchemy import create_engine

from builders import record, study
from finished import finished
from orchestrator.cli.main import main
from orchestrator.ledger.ledger import Ledger
from orchestrator.storage.create_once import name_once
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from orchestrator.tracking._sqlite import file_system, make_database
from orchestrator.tracking.mlflow import DONE, KIND, NAME, Projection, tracking_uri
from running import write

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study(storage=str(tmp_path_factory.mktemp("storage")))


@pytest.fixture(scope="module")
def planner(made: Study) -> Planner:
    """A finished study, with one failed seed."""
    return finished(made)


@pytest.fixture
def small(tmp_path: Path, empty_mlflow: Path) -> tuple[Study, Planner]:
    """A finished study of two trials, and an empty database in its storage."""
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    made = study(
        storage=str(tmp_path), recipes={"also": ["l1"]}, tune={"trials": 1}, evaluate={"seeds": 1}, train={"epochs": 2}
    )
    return made, finished(made)


def runs(made: Study) -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient(tracking_uri(made))
    experiment = client.get_experiment_by_name(made.study)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


def test_a_study_becomes_runs_of_cells_and_trials_and_nothing_is_sent_twice(made: Study, planner: Planner) -> None:
    ledger = Ledger(made.storage)
    assert Projection(made, ledger).update(planner.plans) == 22
    assert Projection(made, ledger).update(planner.plans) == 0
    found = runs(made)
    assert Counter(run.data.tags[KIND] for run in found) == {"trial": 22, "cell": 2}
    parents = {run.info.run_id: run for run in found if run.data.tags[KIND] == "cell"}
    for run in found:
        if run.data.tags[KIND] == "trial":
            parent = parents[run.data.tags["mlflow.parentRunId"]]
            assert parent.data.tags["recipe"] == run.data.tags["recipe"]


def test_a_trial_carries_its_settings_scores_and_curve(made: Study, planner: Planner) -> None:
    trial = planner.plans[1].records("evaluate")[0]
    Projection(made, Ledger(made.storage)).update(planner.plans)
    (run,) = [run for run in runs(made) if run.data.tags[NAME] == f"{trial.trial_id}.0"]
    assert run.data.metrics["test/mae/all"] == 4.0
    assert run.data.metrics["val/mae/few"] == 8.0
    assert run.data.params["seed"] == str(trial.seed)
    assert run.info.status == "FINISHED"
    history = mlflow.MlflowClient(tracking_uri(made)).get_metric_history(run.info.run_id, "epoch/val/mae/all")
    assert [(m.step, m.value) for m in history] == [(0, 4.0), (1, 4.0)]
    assert history[0].timestamp == int(trial.finished.timestamp() * 1000)


@pytest.mark.parametrize("epochs", [330, 400])
def test_a_curve_longer_than_a_server_takes_at_once_arrives_whole(
    tmp_path: Path, empty_mlflow: Path, epochs: int
) -> None:
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    made = study(storage=str(tmp_path), train={"epochs": epochs}, recipes={"also": ["l1"]})
    planner = Planner(made, expand(made), lambda trial_id, phase: None)
    trial = planner.next()
    assert trial is not None
    planner.finish(trial, record(trial, 4.0))
    assert Projection(made, Ledger(made.storage)).update(planner.plans) == 1
    (run,) = [run for run in runs(made) if run.data.tags[KIND] == "trial"]
    client = mlflow.MlflowClient(tracking_uri(made))
    for name in ("train/loss", "epoch/val/mae/all", "epoch/val/mae/few"):
        assert [m.step for m in client.get_metric_history(run.info.run_id, name)] == list(range(epochs))
    assert run.data.params["epochs"] == str(epochs) and run.data.tags[DONE] == "1"


def test_runs_that_rescore_name_the_trial_whose_settings_they_train_again(made: Study, planner: Planner) -> None:
    Projection(made, Ledger(made.storage)).update(planner.plans)
    tags = [run.data.tags.get("rescores") for run in runs(made) if run.data.tags[KIND] == "trial"]
    assert Counter(tags) == {None: 10, "0": 4, "1": 4, "2": 4}


def test_a_cell_carries_aggregates_and_a_failed_trial_its_error(made: Study, planner: Planner) -> None:
    Projection(made, Ledger(made.storage)).update(planner.plans)
    found = runs(made)
    (cell,) = [run for run in found if run.data.tags[NAME] == "nhanes-sbp/l1"]
    assert cell.data.metrics["seeds"] == 1
    assert cell.data.metrics["test/mae/all/mean"] == 4.0
    failed = [run for run in found if run.data.tags.get("status") == "failed"]
    assert len(failed) == 2
    assert {run.info.status for run in failed} == {"FAILED"}
    assert {run.data.tags["error"] for run in failed} == {"Diverged: the training loss became nan"}


def test_a_run_that_was_cut_off_is_made_anew(made: Study, planner: Planner) -> None:
    Projection(made, Ledger(made.storage)).update(planner.plans)
    client = mlflow.MlflowClient(tracking_uri(made))
    victim = next(run for run in runs(made) if run.data.tags[KIND] == "trial")
    client.delete_tag(victim.info.run_id, DONE)
    assert Projection(made, Ledger(made.storage)).update(planner.plans) == 1
    again = [run for run in runs(made) if run.data.tags[NAME] == victim.data.tags[NAME]]
    assert [run.info.run_id for run in again] != [victim.info.run_id]
    assert len(again) == 1


@pytest.mark.parametrize("name", ["r#1?é b", "100%41"])
def test_a_storage_folder_of_any_name_holds_the_database(tmp_path: Path, name: str) -> None:
    Projection(study(storage=str(tmp_path / name)), Ledger(str(tmp_path / name)))
    assert (tmp_path / name / "mlflow.db").is_file()


def test_a_deleted_experiment_is_restored_and_completed(made: Study, planner: Planner) -> None:
    first = Projection(made, Ledger(made.storage))
    first.update(planner.plans)
    first.client.delete_experiment(first.experiment)
    again = Projection(made, Ledger(made.storage))
    again.update(planner.plans)
    assert again.experiment == first.experiment
    assert Counter(run.data.tags[KIND] for run in runs(made)) == {"trial": 22, "cell": 2}


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://127.0.0.1:9", "127.0.0.1"),
        ("gopher://host/x", "gopher"),
        ("mysql+nodriver://host/x", "nodriver"),
        ("sqlite:////dev/null/x.db", "File exists"),
    ],
)
def test_a_server_that_does_not_take_a_study_is_one_line_and_exit_code_3(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], uri: str, reason: str
) -> None:
    args = ["track", str(write(tmp_path)), "--storage", str(tmp_path), "--set", f"tracking.uri={uri}"]
    assert main(args) == 3
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("tailsweep: ")]
    assert len(told) == 1
    assert told[0].startswith(f"tailsweep: tracking failed: MLflow at {uri} must take the study: ")
    assert reason in told[0]
    assert "`tailsweep track` completes it" in told[0]


def test_a_tracker_that_is_killed_while_it_makes_its_database_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(made: Path, target: Path) -> bool:
        assert made.stat().st_size and not target.exists()
        raise KeyboardInterrupt

    cut_off = study(storage=str(tmp_path))
    monkeypatch.setattr("orchestrator.tracking._sqlite.name_once", killed)
    with pytest.raises(KeyboardInterrupt):
        Projection(cut_off, Ledger(cut_off.storage))
    assert list(tmp_path.iterdir()) == [], "so the next one finds what the first one found"


def test_of_two_trackers_that_make_a_database_at_once_the_first_ones_stays(
    small: tuple[Study, Planner], monkeypatch: pytest.MonkeyPatch
) -> None:
    both, planner = small
    place, first = Path(both.storage) / "mlflow.db", Path(both.storage) / "first.db"
    place.rename(first)

    def overtaken(made: Path, target: Path) -> bool:
        first.rename(place)
        assert Projection(both, Ledger(both.storage)).update(planner.plans) == 2
        return name_once(made, target)

    monkeypatch.setattr("orchestrator.tracking._sqlite.name_once", overtaken)
    make_database(place)
    assert Projection(both, Ledger(both.storage)).update(planner.plans) == 0


def _pragma(path: Path, name: str) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute(f"PRAGMA {name}").fetchone()[0])


def test_on_a_disk_of_this_machine_the_database_has_a_log_and_elsewhere_sqlites_usual_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mlflow.db"
    for disk, journal in (("ext4", "wal"), ("nfs4", "delete"), ("ext4", "wal"), ("", "delete")):  # it may be moved
        with monkeypatch.context() as patch:
            patch.setattr("orchestrator.tracking._sqlite.file_system", lambda folder, disk=disk: disk)
            make_database(path)
        assert _pragma(path, "journal_mode") == journal
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        make_database(path)  # another process writes: its journal stays, and the study is sent
    assert _pragma(path, "journal_mode") == "delete"


def test_when_a_study_is_sent_all_of_it_is_in_the_one_file(small: tuple[Study, Planner], tmp_path: Path) -> None:
    made, planner = small
    projection = Projection(made, Ledger(made.storage))
    projection.update(planner.plans)
    projection.upload()
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "mlflow.db", tmp_path / "other")
    found = runs(study(storage=str(tmp_path / "other")))
    assert Counter(run.data.tags[KIND] for run in found) == {"trial": 2, "cell": 1, "study": 1}


def test_only_our_database_with_a_log_is_written_without_waiting_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_mlflow: Path
) -> None:
    found = {}
    for name, disk in (("log", "ext4"), ("usual", "nfs4"), ("of somebody else", None)):
        path = tmp_path / name
        if disk is None:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
        else:
            shutil.copy(empty_mlflow, path)
            monkeypatch.setattr("orchestrator.tracking._sqlite.file_system", lambda folder, disk=disk: disk)
            make_database(path)
        engine = create_engine(f"sqlite:///{path}")
        with engine.connect() as connected:
            found[name] = connected.exec_driver_sql("PRAGMA synchronous").scalar()
        engine.dispose()
    assert found == {"log": 1, "usual": 2, "of somebody else": 2}, "NORMAL, and FULL"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_kind_of_a_file_system_is_that_of_the_nearest_mount() -> None:
    assert file_system(Path("/proc/self")) == "proc" != file_system(Path.cwd()) != ""
