"""Packs of trials: who is in one, and that every member has the record that it has by itself."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders import cell, score, study
from orchestrator.engine import trial as module
from orchestrator.engine.packs import Jobs, Packer, run
from orchestrator.engine.trial import Job
from orchestrator.errors import BadInput
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import CurveRow, Record
from orchestrator.study.cells import Trial, expand, sketch
from orchestrator.study.planner import Planner
from orchestrator.study.resources import MEMBERS
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.loop import Fit

EPOCHS = 3
RECIPES = ("l1", "mse + lds + fds", "bmse + sqinv + rrt", "l1 + ranksim + affine_oof")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Workers open a ledger once; here every test has its own."""
    yield
    module._ledger.cache_clear()


def jobs(storage: Path, **settings: Any) -> list[Job]:
    made = study(storage=str(storage), checkpoint_every_s=0, **settings)
    cells = [cell(recipe, train={"epochs": EPOCHS}) for recipe in RECIPES]
    return [Job.of(one.trial("evaluate", 0, {}), 0, made, str(storage)) for one in cells]


def record(job: Job) -> Record:
    found = Ledger(job.storage).find(job.trial_id, job.phase)
    assert found is not None
    return found


def outcome(job: Job) -> tuple[Any, ...]:
    """What a record says of training, and the predictions that it names."""
    one = record(job)
    name = one.predictions
    held = None if name is None else Ledger(job.storage).predictions(one).to_pydict()
    return one.status, one.kept_epoch, one.val, one.test, one.curve, one.log, one.error, held


def trained(of: list[Job], rounds: int = EPOCHS + 1) -> list[str]:
    told: list[str] = []
    pack = Jobs(of, lambda job, words: told.append(f"{job.recipe}: {words}"))
    for _ in range(rounds):
        pack.advance()
    assert len(pack.ended) == (len(of) if rounds > EPOCHS else 0)
    return told


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """The outcomes of the jobs, each trained by itself."""
    made = jobs(tmp_path_factory.mktemp("alone"))
    for job in made:
        assert len(list(run(job))) == EPOCHS
    return [outcome(job) for job in made]


def test_every_member_commits_the_record_and_the_predictions_that_it_has_by_itself(
    tmp_path: Path, alone: list[tuple[Any, ...]]
) -> None:
    made = jobs(tmp_path)
    assert trained(made) == []
    assert [outcome(job) for job in made] == alone
    assert all(record(job).wall_s > 0 for job in made)


def test_a_pack_whose_machine_is_taken_away_goes_on_from_checkpoints_in_other_packs(
    tmp_path: Path, alone: list[tuple[Any, ...]]
) -> None:
    made = jobs(tmp_path)
    pack = Jobs(made, lambda job, words: None)
    pack.advance()
    pack.advance()
    pack.preempt()
    assert len(pack.ended) == len(made)
    assert all((tmp_path / job.checkpoint).is_file() for job in made)
    list(run(made[0]))
    trained([made[2], made[1]])
    trained([made[3]])
    assert [outcome(job) for job in made] == alone


def test_a_member_that_fails_is_recorded_and_the_others_go_on(
    tmp_path: Path, alone: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = jobs(tmp_path)
    steps = Fit.steps

    def failing(self: Fit) -> Any:
        if len(self.model.stages()) > 1 and len(self.curve) == 1:
            raise RuntimeError("out of luck")
        yield from steps(self)

    monkeypatch.setattr(Fit, "steps", failing)
    assert trained(made) == []
    assert (record(made[2]).status, record(made[2]).error) == ("failed", "RuntimeError: out of luck")
    assert [outcome(job) for k, job in enumerate(made) if k != 2] == [alone[k] for k in (0, 1, 3)]


def test_a_damaged_checkpoint_costs_one_member_its_epochs_and_nobody_else(
    tmp_path: Path, alone: list[tuple[Any, ...]]
) -> None:
    made = jobs(tmp_path)
    Ledger(str(tmp_path)).store.put(made[1].checkpoint, b"junk")
    told = trained(made)
    assert [words.partition(":")[0] for words in told] == [RECIPES[1]]
    assert [outcome(job)[:5] for job in made] == [one[:5] for one in alone]


WIDE: dict[str, Any] = {
    "recipes": {"also": ["l1", "mse", "huber"]},
    "tune": {"trials": 4, "sampler": "random"},
}


def planned(workers: int = 2, stops: bool = False, alone: tuple[str, ...] = (), **more: Any) -> list[list[Trial]]:
    """The packs that are given out before any result is there."""
    made = study(**{**WIDE, **more})
    planner = Planner(made, expand(made), lambda trial_id, phase: None)
    packer = Packer(planner, workers, stops, alone)
    packs = []
    while pack := packer.next():
        packs.append(pack)
    return packs


def test_trials_that_wait_are_shared_among_the_workers() -> None:
    sizes = [len(pack) for pack in planned()]
    assert sizes[:2] == [6, 3] and sum(sizes) == 12
    assert [len(pack) for pack in planned(workers=1)] == [MEMBERS, 4]
    assert [len(pack) for pack in planned(workers=20)] == [1] * 12


def test_a_pack_is_of_one_workload_and_of_as_many_as_the_study_says() -> None:
    packs = planned(workers=1, workloads=["nhanes-sbp", "nhanes-hba1c"], resources={"pack": 5})
    assert max(map(len, packs)) == 5 and sum(map(len, packs)) == 24
    assert all(len({trial.cell.workload for trial in pack}) == 1 for pack in packs)


def test_members_share_what_holds_for_the_process() -> None:
    packs = planned(workers=1, space={"train.deterministic": [True, False]})
    kinds = [{trial.settings.get("train.deterministic", True) for trial in pack} for pack in packs]
    assert max(map(len, packs)) > 1
    assert {True} in kinds and {False} in kinds and {True, False} not in kinds


def test_members_train_from_the_same_epoch_to_the_same_rung() -> None:
    halving = {"trials": 4, "population": 4, "sampler": "random", "scheduler": "halving"}
    made = study(recipes={"also": ["l1", "mse"]}, resources={"pack": 8}, train={"epochs": 8}, tune=halving)
    planner = Planner(made, expand(made), lambda trial_id, phase: None)
    packer = Packer(planner, 1, False, ())
    first = packer.next()
    assert {planner.until(trial) for trial in first} == {2} and len(first) == 8
    for trial in first:
        if str(trial.cell.recipe) == "l1":
            planner.pause(trial, tuple(CurveRow(e, 0, 1.0, (score(float(trial.number)),)) for e in range(2)))
        else:
            planner.give_back(trial)
    packs = [packer.next(), packer.next()]
    assert packer.next() == []
    assert sorted((planner.until(pack[0]), {str(t.cell.recipe) for t in pack}, len(pack)) for pack in packs) == [
        (2, {"mse"}, 4),
        (4, {"l1"}, 2),
    ]


@pytest.mark.parametrize("more", [{"resources": {"pack": "off"}}, {"resources": {"processes": 2}}, {"stops": True}])
def test_no_trial_is_packed_where_the_study_says_so_or_several_train_it_or_a_scheduler_looks_at_each(
    more: dict[str, Any],
) -> None:
    assert {len(pack) for pack in planned(**more)} == {1}


def test_a_trial_that_was_lost_with_a_pack_goes_alone() -> None:
    (pack, *_) = planned(workers=1)
    lost = pack[1].id
    sizes = {trial.id: len(other) for other in planned(workers=1, alone=(lost,)) for trial in other}
    assert sizes[lost] == 1 and max(sizes.values()) > 1


def test_a_heavy_workload_is_not_packed_and_asking_for_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WORKLOADS, "nhanes-sbp", replace(WORKLOADS["nhanes-sbp"], light=False))
    assert {len(pack) for pack in planned(workers=1)} == {1}
    with pytest.raises(BadInput, match="got 8, and nhanes-sbp is none; take auto"):
        sketch(study(resources={"pack": 8}))


def test_packs_are_no_part_of_what_a_study_is() -> None:
    packed, plain = study(resources={"pack": 3}), study()
    assert packed.definition() == plain.definition()
    assert "pack" not in plain.model_dump(mode="json")["resources"]
    assert Study.of(packed.model_dump(mode="json")) == packed
