"""What the driver does with trials whose worker is lost, told to it as Tune tells it."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

import builders
from in_process import Quiet
from orchestrator.engine.packs import Packer, run
from orchestrator.engine.trial import Job
from orchestrator.engine.watch import RETRIES, Watch
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Record
from orchestrator.study.cells import Trial, expand
from orchestrator.study.planner import Planner


class Lost:
    """A sweep of one process whose workers train a first epoch, write its checkpoint, report nothing and are lost."""

    def __init__(self, storage: Path) -> None:
        tune = {"trials": 1, "rescore": 1, "epoch_time_limit_s": 5}
        made = builders.study(
            recipes={"also": ["l1"]}, storage=str(storage), train={"epochs": 3}, tune=tune, checkpoint_every_s=0
        )
        self.ledger, self.storage = Ledger(made.storage), storage
        self.planner = Planner(made, expand(made), self.ledger.find)
        self._job_of = lambda trial: Job.of(trial, 0, made, made.storage)
        self.watch = Watch(self.planner, self.ledger, Quiet(), self._job_of)
        self.first = self._begin()
        epochs = run(self._job_of(self.first))
        assert [next(epochs).epoch, next(epochs).epoch] == [0, 1]
        epochs.close()

    def _begin(self) -> Trial:
        trial = self.planner.next()
        assert trial is not None
        self.watch.begin(trial)
        return trial

    def lose(self, times: int) -> Record:
        """Lose so many workers; the record after that."""
        for attempt in range(times):
            trial = self.first if not attempt else self._begin()
            of_tune = SimpleNamespace(
                config={"jobs": [asdict(self._job_of(trial))]},
                trial_id=f"{trial.id}-{attempt}",
                error_file=None,
                pickled_error_file=None,
            )
            self.watch.on_trial_start(0, [], of_tune)
            self.watch.on_trial_error(0, [], of_tune)
        record = self.ledger.find(self.first.id, "tune")
        assert record is not None and record.status == "failed"
        return record

    def time_out(self) -> None:
        clocks = self.watch._clocks
        clocks.start(self.first.id, "", 0.0)
        assert clocks.overdue(self.first.id, 6.0)


@pytest.fixture
def lost(tmp_path: Path) -> Lost:
    return Lost(tmp_path)


def test_a_trial_that_is_lost_again_and_again_is_recorded_with_the_epochs_of_its_checkpoint(lost: Lost) -> None:
    record = lost.lose(RETRIES + 1)
    assert [row.epoch for row in record.curve] == [0] and record.epochs_run == 1
    assert record.curve[0].val, "with its scores"
    assert not list((lost.storage / "checkpoints").glob("*.pt")), "which is gone then"


def test_a_trial_whose_time_is_up_is_recorded_with_the_epochs_of_its_checkpoint(lost: Lost) -> None:
    lost.time_out()
    record = lost.lose(1)
    assert record.error == "Timed out after 5 s in one epoch" and record.epochs_run == 1


@pytest.mark.parametrize("bytes_of_it", [b"", b"junk", None])
def test_a_checkpoint_that_cannot_be_read_costs_its_epochs_and_no_more(lost: Lost, bytes_of_it: bytes | None) -> None:
    (path,) = (lost.storage / "checkpoints").glob("*.pt")
    path.write_bytes(path.read_bytes()[:-100] if bytes_of_it is None else bytes_of_it)
    lost.time_out()
    assert lost.lose(1).curve == ()


def test_of_a_pack_whose_worker_is_lost_nobody_is_recorded_and_all_are_given_out_again_alone(tmp_path: Path) -> None:
    made = builders.study(recipes={"also": ["l1", "mse"]}, storage=str(tmp_path), tune={"epoch_time_limit_s": 5})
    ledger = Ledger(made.storage)
    planner = Planner(made, expand(made), ledger.find)
    watch = Watch(planner, ledger, Quiet(), lambda trial: Job.of(trial, 0, made, made.storage))
    packer = Packer(planner, 1, False, watch.alone)
    pack = packer.next()
    assert len(pack) > 1
    for trial in pack:
        watch.begin(trial)
        watch._clocks.start(trial.id, "", 0.0, len(pack))
        assert not watch._clocks.overdue(trial.id, 5.0 * len(pack))
    assert watch._clocks.overdue(pack[0].id, 5.0 * len(pack) + 1)
    jobs = [asdict(Job.of(trial, 0, made, made.storage)) for trial in pack]
    watch.on_trial_error(
        0, [], SimpleNamespace(config={"jobs": jobs}, trial_id="1", error_file=None, pickled_error_file=None)
    )
    assert not watch.live and all(ledger.find(trial.id, trial.phase) is None for trial in pack)
    again = [packer.next() for _ in pack]
    assert {trial.id for (trial,) in again} >= {trial.id for trial in pack}
