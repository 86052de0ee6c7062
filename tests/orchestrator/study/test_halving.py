import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders import record, score, study
from orchestrator.errors import BadInput
from orchestrator.ledger.records import CurveRow, Phase, Record
from orchestrator.storage.leases import Leases
from orchestrator.storage.store import LocalStore
from orchestrator.study.cells import Trial, expand
from orchestrator.study.planner import Planner
from orchestrator.study.rungs import most
from orchestrator.study.sharding import Shard, Stealing
from orchestrator.study.spec import Study
from orchestrator.study.stopping import limits, told

TUNE = {"trials": 16, "scheduler": "halving", "rescore": 2, "rescore_seeds": 1, "parallel": 4}


def halved(**changes: Any) -> Study:
    """Two cells of 16 trials, in populations of 8 with rungs at 2 and 4 of 8 epochs."""
    return study(**{"tune": TUNE, "train": {"epochs": 8}, **changes})


def value_of(trial: Trial, epoch: int) -> float:
    """A validation score that depends on trial and epoch alone, as training does."""
    return 1.0 + random.Random(f"{trial.id}/{epoch}").random()


def curve_of(trial: Trial, epochs: int) -> tuple[CurveRow, ...]:
    return tuple(CurveRow(e, 0, 1.0, (score(value_of(trial, e)),)) for e in range(epochs))


def outcome(trial: Trial, epochs: int, **changes: Any) -> Record:
    """The record of a trial with so many epochs, of which it kept the best."""
    curve = curve_of(trial, epochs)
    best = min((row.val for row in curve), key=lambda val: val[0].value or 0.0, default=())
    return replace(record(trial, 1.0), **{"epochs_run": epochs, "curve": curve, "val": best, **changes})


class Storage(dict[tuple[str, Phase], Record]):
    """Records and checkpoints, which all drivers share."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: dict[str, int] = {}
        self.trained = 0

    def find(self, trial_id: str, phase: Phase) -> Record | None:
        return self.get((trial_id, phase))


class Driver:
    """A planner with some workers, whose trials end or wait in any order."""

    def __init__(self, made: Study, storage: Storage, fails: Callable[[Trial], int] = lambda t: 0, **of: Any):
        self.storage, self.fails = storage, fails
        self.planner = Planner(made, expand(made), storage.find, **of)
        self.running: list[Trial] = []

    def fill(self, workers: int) -> None:
        while len(self.running) < workers and (trial := self.planner.next()) is not None:
            assert trial.id not in {other.id for other in self.running}
            self.running.append(trial)
        self.settle()

    def end(self, trial: Trial) -> None:
        """Train a trial until it waits or ends, from its checkpoint."""
        self.running.remove(trial)
        had, until = self.storage.saved.get(trial.id, 0), self.planner.until(trial)
        self.storage.trained += max(0, until - had)
        if self.fails(trial) == until:
            self.commit(trial, outcome(trial, had, status="failed", error="Diverged", val=(), kept_epoch=None))
        elif until < trial.epochs:
            self.storage.saved[trial.id] = max(had, until)
            self.planner.pause(trial, curve_of(trial, max(had, until)))
        else:
            self.commit(trial, outcome(trial, trial.epochs))
        self.settle()

    def settle(self) -> None:
        while stops := self.planner.stops:
            for stop in stops:
                assert self.storage.saved[stop.trial.id] >= len(stop.curve)
                made = outcome(stop.trial, len(stop.curve), status="stopped", val=stop.val, kept_epoch=None)
                self.commit(stop.trial, made)

    def commit(self, trial: Trial, made: Record) -> None:
        known = self.storage.get((trial.id, trial.phase))
        if known is None or known.status != "completed":
            self.storage[trial.id, trial.phase] = made
        self.storage.saved.pop(trial.id, None)
        self.planner.finish(trial, self.storage[trial.id, trial.phase])


def run(driver: Driver, workers: int = 1, seed: int | None = None, legs: int | None = None) -> Driver:
    """Train until all is done, or for so many legs of trials, in order or by dice."""
    dice = random.Random(seed)
    done = 0
    while not driver.planner.done and done != legs:
        driver.fill(workers)
        if driver.running:
            driver.end(driver.running[0] if seed is None else dice.choice(driver.running))
            done += 1
    return driver


def test_three_of_four_trials_of_a_search_are_stopped_and_half_of_its_epochs_are_saved() -> None:
    made, storage = halved(), Storage()
    planner = run(Driver(made, storage)).planner
    for plan in planner.plans:
        searched = plan.searched
        assert [(r.status, r.epochs_run) for r in searched].count(("stopped", 2)) == 8
        assert [(r.status, r.epochs_run) for r in searched].count(("stopped", 4)) == 4
        assert [(r.status, r.epochs_run) for r in searched].count(("completed", 8)) == 4
        assert sum(r.epochs_run for r in searched) == 2 * most((2, 4), 8, 2, 8)
        again = [*plan.outcomes["tune"].values()][16:]
        assert len(again) == 2 and {r.status for r in [*again, *plan.records("evaluate")]} == {"completed"}
    assert not storage.saved, "no checkpoint is left"
    assert storage.trained == sum(r.epochs_run for r in storage.values()), "no epoch is trained twice"


@pytest.mark.parametrize("seed", range(5))
def test_what_is_stopped_does_not_depend_on_who_comes_first(seed: int) -> None:
    one_by_one, mixed = Storage(), Storage()
    fails = lambda trial: {0: 2, 1: 4, 2: 8}.get(int(trial.id, 16) % 12, 0)  # noqa: E731
    run(Driver(halved(), one_by_one, fails))
    run(Driver(halved(), mixed, fails), 7, seed)
    assert one_by_one == mixed
    assert {"failed", "stopped", "completed"} == {r.status for r in mixed.values()}


@pytest.mark.parametrize("seed", range(5))
def test_a_study_that_is_killed_again_and_again_ends_the_same(seed: int) -> None:
    whole, cut = Storage(), Storage()
    run(Driver(halved(), whole), 3)
    dice = random.Random(seed)
    while not (driver := Driver(halved(), cut)).planner.done:
        run(driver, dice.randint(1, 9), seed, legs=dice.randint(1, 60))
    assert cut == whole


def test_populations_in_all_of_the_search_are_told_apart_by_number_and_know_the_ones_before() -> None:
    storage = Storage()
    plan = run(Driver(halved(recipes={"also": ["l1 + lds"]}), storage), 5, 1).planner.plans[0]
    for first in (0, 8):
        stopped = [plan.outcomes["tune"][n].epochs_run for n in range(first, first + 8)]
        assert sorted(stopped) == [2, 2, 2, 2, 4, 4, 8, 8]
    more = halved(recipes={"also": ["l1 + lds"]}, tune={**TUNE, "trials": 24})
    extended, before = run(Driver(more, storage), 5, 1).planner.plans[0], dict(storage)
    fresh = Storage()
    assert run(Driver(more, fresh), 2).planner.plans[0].outcomes == extended.outcomes
    assert extended.suggested[:16] == plan.suggested and before.keys() >= fresh.keys()


def test_trials_that_make_no_whole_population_train_in_full_and_count_as_stopped_when_it_is_whole() -> None:
    made = halved(recipes={"also": ["l1"]}, tune={**TUNE, "trials": 12})
    storage, fresh = Storage(), Storage()
    plan = run(Driver(made, storage)).planner.plans[0]
    assert [plan.outcomes["tune"][n].epochs_run for n in range(8, 12)] == [8] * 4
    more = halved(recipes={"also": ["l1"]})
    extended, straight = run(Driver(more, storage)).planner.plans[0], run(Driver(more, fresh)).planner.plans[0]
    assert [vars(r) for r in extended.searched] == [vars(r) for r in straight.searched]
    assert extended.settings == straight.settings


def test_a_study_that_stops_nothing_trains_what_another_one_of_the_storage_stopped() -> None:
    storage = Storage()
    run(Driver(halved(), storage))
    plain = halved(tune={**TUNE, "scheduler": "none"})
    shared, alone = run(Driver(plain, storage)).planner, run(Driver(plain, Storage())).planner
    for one, other in zip(shared.plans, alone.plans, strict=True):
        assert {r.status for r in one.searched} == {"completed"}
        assert one.outcomes == other.outcomes
    again = Driver(halved(), storage).planner
    assert again.done and [r.epochs_run for r in again.plans[0].searched].count(2) == 8, "the first one is as it was"


def test_a_driver_that_dies_amid_a_population_leaves_it_to_another(tmp_path: Path) -> None:
    made, storage, clock = halved(), Storage(), [0.0]
    names = [cell.name for cell in expand(made)]

    def driver(number: int) -> Driver:
        leases = Leases(LocalStore(tmp_path), "tiny", f"d{number}", 60.0, lambda: clock[0])
        return Driver(made, storage, share=Stealing(Shard(number, 2, names), leases))

    first, second = driver(0), driver(1)
    run(first, 4, 1, legs=11)
    assert storage.saved, "trials wait"
    while not second.planner.done:
        clock[0] += 30.0
        second.fill(4)
        if second.running:
            second.end(second.running[0])
    alone = Storage()
    run(Driver(made, alone))
    assert storage == alone and not storage.saved
    assert storage.trained <= alone.trained + 4 * 8, "only what the dead one had under way is trained twice"


def test_settings_that_repeat_are_no_members_of_a_population_twice() -> None:
    space = {"train.lr": 0.001, "train.weight_decay": 0.0, "train.batch_size": [64, 128, 256]}
    made = halved(recipes={"also": ["l1"]}, space=space)
    planner = run(Driver(made, Storage()), 4, 2).planner
    assert planner.done and len(planner.plans[0].repeats) == 13
    trained = {r.number: r.epochs_run for r in planner.plans[0].searched}
    assert [sorted(trained[n] for n in trained if n // 8 == of) for of in (0, 1)] == [[2, 8], [8]]


def test_a_cell_with_nothing_to_search_is_never_stopped() -> None:
    fixed = {"train.lr": 0.001, "train.weight_decay": 0.0}
    made = halved(recipes={"also": ["l1"]}, space=fixed)
    planner = run(Driver(made, Storage())).planner
    assert [r.status for r in planner.plans[0].searched] == ["completed"]


def test_rungs_lie_in_the_first_stage_of_a_plan() -> None:
    made = halved(recipes={"also": ["l1", "l1 + rrt"]}, train={"epochs": 16})
    of = [limits(made.tune, cell) for cell in expand(made)]
    assert [one.rungs for one in of if one is not None] == [(4, 8), (4, 8)]
    short = halved(recipes={"also": ["l1 + rrt"]}, train={"epochs": 16}, space={"rrt.head_share": 0.7})
    of = [limits(short.tune, cell) for cell in expand(short)]
    assert [one.rungs for one in of if one is not None] == [(4,)]


@pytest.mark.parametrize(
    ("every", "tune", "rungs"),
    [
        (1, {}, (4, 8)),
        (3, {}, (6,)),  # a quarter of 16 epochs, then the next one that is validated
        (3, {"grace": 3}, (3, 6)),
        (3, {"grace": 8}, (8,)),  # the last epoch of the first stage is validated in any case
    ],
)
def test_rungs_lie_where_trials_are_validated(every: int, tune: dict[str, Any], rungs: tuple[int, ...]) -> None:
    train = {"epochs": 16, "validate_every": every}
    made = halved(recipes={"also": ["l1 + rrt"]}, train=train, tune={**TUNE, **tune})
    (of,) = (limits(made.tune, cell) for cell in expand(made))
    assert of is not None and of.rungs == rungs and not of.unscored


@pytest.mark.parametrize("scheduler", ["halving", "asha"])
def test_trials_cannot_be_compared_after_an_epoch_that_is_not_validated(scheduler: str) -> None:
    tune = {**TUNE, "scheduler": scheduler, "grace": 2}
    with pytest.raises(BadInput, match=r"after epochs that are validated: got train.validate_every: 3, .* after 2, "):
        expand(halved(train={"epochs": 16, "validate_every": 3}, tune=tune))
    expand(halved(train={"epochs": 16, "validate_every": 2}, tune=tune))


@pytest.mark.parametrize(
    "space", [{"train.epochs": [8, 16]}, {"rrt.head_share": [0.3, 0.5]}, {"train.validate_every": [1, 2]}]
)
def test_epochs_that_are_searched_cannot_be_compared(space: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=f"compares trials after equal epochs of one stage: .*{next(iter(space))}"):
        expand(halved(recipes={"also": ["l1 + rrt"]}, space=space))


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (
            {"train.validate_every": 3},
            "the first trial of .*/l1.* no score of its first stage after 2, 4 epochs, with t",
        ),
        ({"rrt.head_share": 0.6}, "the first trial of .*/l1 . rrt .* with rrt.head_share: 0.6 of its own; give all tr"),
        ({"train.validate_every": 2}, None),
        ({"rrt.head_share": 0.3}, None),  # a longer first stage has all rungs
    ],
)
def test_the_first_trial_is_compared_as_the_others_are(first: dict[str, Any], told: str | None) -> None:
    asked = {"recipes": {"also": ["l1 + rrt"]}, "first": first}
    with pytest.raises(BadInput, match=told) if told else nullcontext():
        expand(halved(**asked))
    expand(study(**asked))


@pytest.mark.parametrize(
    ("tune", "words"),
    [
        ({}, "8 trials at a time are compared after 2 and 4 of 8 epochs, one in 2 goes on"),
        ({"trials": 20}, "one in 2 goes on; the last 4 of 20 are no population and train in full"),
        ({"trials": 7}, "it can never act, since it compares 8 trials and the search has 7; lower tune.population or"),
        ({"grace": 8}, "it can never act, since trials are first compared after 8 epochs, and the first stage has 8"),
        ({"grace": 8}, "of 8; lower tune.grace or raise train.epochs"),
        ({"scheduler": "asha"}, "from epoch 1 of 8 on, and from 9 trials of a cell on"),
        ({"scheduler": "median", "population": 17}, "it can never act, since it compares 17 trials and the search has"),
    ],
)
def test_what_early_stopping_does_is_told_before_a_study_begins(tune: dict[str, Any], words: str) -> None:
    made = halved(tune={**TUNE, **tune})
    (line,) = told(made.tune, expand(made), [made.tune.trials] * 2)
    assert words in line
    assert told(study().tune, expand(study()), [3, 3]) == []


@pytest.mark.parametrize(
    ("train", "way"),
    [
        ({"epochs": 8, "validate_every": 8}, "8 of 8; lower train.validate_every or raise train.epochs"),
        ({"epochs": 1}, "1 of 1; raise train.epochs"),
    ],
)
def test_where_trials_are_compared_too_late_the_way_out_is_one_that_helps(train: dict[str, Any], way: str) -> None:
    made = halved(train=train)
    (line,) = told(made.tune, expand(made), [made.tune.trials] * 2)
    assert line.endswith(way)
