"""Trackers that write folders and files, read back by the tools that they are for."""

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from builders import study
from finished import finished
from orchestrator.ledger.ledger import Ledger
from orchestrator.study.planner import Planner
from orchestrator.study.space import distribution
from orchestrator.study.spec import Study
from orchestrator.tracking.optuna import OptunaStorage
from orchestrator.tracking.tensorboard import TensorBoard

RULE = "val/mae/all"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study(storage=str(tmp_path_factory.mktemp("storage")))


@pytest.fixture(scope="module")
def planner(made: Study) -> Planner:
    return finished(made, stopped=1)


@pytest.fixture(scope="module")
def storage(made: Study, planner: Planner) -> Iterator[optuna.storages.RDBStorage]:
    assert OptunaStorage(made, Ledger(made.storage)).update(planner.plans) == 6
    assert OptunaStorage(made, Ledger(made.storage)).update(planner.plans) == 0, "nothing is written twice"
    found = optuna.storages.RDBStorage(OptunaStorage.address(made))
    yield found
    found.engine.dispose()


def test_every_cell_is_a_study_of_optuna_with_the_trials_of_its_search(
    made: Study, planner: Planner, storage: optuna.storages.RDBStorage
) -> None:
    names = optuna.get_all_study_names(storage)
    assert sorted(names) == sorted(f"tiny/{plan.cell.name}" for plan in planner.plans)
    for plan in planner.plans:
        found = optuna.load_study(study_name=f"tiny/{plan.cell.name}", storage=storage).trials
        axes = {axis.name: distribution(axis) for axis in plan.cell.axes}
        assert [trial.state for trial in found] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
        for trial, record in zip(found, plan.searched, strict=True):
            assert trial.distributions == {name: axes[name] for name in trial.params}
            assert trial.params.keys() == plan.suggested[record.number].keys() & axes.keys()
            assert trial.intermediate_values == {row.epoch: 4.0 + record.number for row in record.curve}
            assert trial.value == (record.score(RULE) if record.status == "completed" else None)


def test_several_scores_are_objectives_of_one_optuna_study(tmp_path: Path) -> None:
    both = ["val/mae/all", "val/mae/few"]
    one = study(recipes={"also": ["l1"]}, tune={"trials": 3, "select_by": both}, storage=str(tmp_path))
    planner = finished(one)
    assert OptunaStorage(one, Ledger(one.storage)).update(planner.plans) == 3
    storage = optuna.storages.RDBStorage(OptunaStorage.address(one))
    found = optuna.load_study(study_name="tiny/nhanes-sbp/l1", storage=storage)
    assert [trial.values for trial in found.trials] == [[4.0, 8.0], [5.0, 10.0], [6.0, 12.0]]
    assert found.user_attrs["score"] == "val/mae/all, val/mae/few" and len(found.best_trials) == 1
    storage.engine.dispose()


def test_tensorboard_reads_curves_and_hyperparameters_of_every_trial(made: Study, planner: Planner) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    trials = sum(len(plan.records(phase)) for plan in planner.plans for phase in plan.trials)
    assert TensorBoard(made, Ledger(made.storage)).update(planner.plans) == trials == 18
    assert TensorBoard(made, Ledger(made.storage)).update(planner.plans) == 0, "nothing is written twice"
    plan = planner.plans[1]
    record = plan.records("evaluate")[0]
    (folder,) = Path(TensorBoard.address(made)).glob(f"*/evaluate 0 {record.trial_id}.0")
    events = EventAccumulator(str(folder)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("epoch/val/mae/all")] == [(0, 4.0), (1, 4.0)]
    (said,) = events.Scalars("test/mae/few")
    assert said.value == 8.0
    assert said.wall_time == record.finished.timestamp()
    start = HParamsPluginData.FromString(events.summary_metadata["_hparams_/session_start_info"].plugin_data.content)
    hparams = start.session_start_info.hparams
    assert hparams["lds.kernel"].string_value == "gaussian", "those with their default are there, too"
    assert hparams["seed"].string_value == str(record.seed), "a float has too few digits for it"


@pytest.mark.slow
def test_weights_and_biases_writes_offline_runs_and_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    from orchestrator.tracking.wandb import WandbRuns

    one = study(
        recipes={"also": ["l1"]}, tune={"trials": 1}, evaluate={"seeds": 1}, tracking={"uri": str(tmp_path)}, train={}
    )
    plans, ledger = finished(one).plans, Ledger(str(tmp_path / "storage"))
    assert WandbRuns(one, ledger).update(plans) == 2
    assert WandbRuns(one, ledger).update(plans) == 0, "nothing is written twice"
    runs = [path.name for path in (tmp_path / "wandb").glob("offline-run-*")]
    assert len(runs) == 2
    assert all((tmp_path / "wandb" / name / f"run-{name.split('-', 3)[3]}.wandb").stat().st_size for name in runs)
