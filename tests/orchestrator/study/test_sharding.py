import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import record, study
from orchestrator.errors import BadInput
from orchestrator.ledger.records import Phase, Record
from orchestrator.storage.leases import Leases
from orchestrator.storage.store import LocalStore
from orchestrator.study.cells import Trial, expand
from orchestrator.study.planner import Planner
from orchestrator.study.sharding import Shard, Stealing, parse

BIG = {"recipes": {"objectives": ["l1"], "combine": ["lds", "fds"]}, "tune": {"trials": 5, "parallel": 2}}


@given(st.lists(st.text(), unique=True, max_size=30), st.integers(1, 40))
def test_shards_are_disjoint_and_miss_nothing(cells: list[str], count: int) -> None:
    dealt = [cell for number in range(count) for cell in Shard(number, count, cells).of(cells)]
    assert sorted(dealt) == sorted(cells)


@pytest.mark.parametrize("written", ["", "3", "8/8", "-1/8", "a/b", "1/0", "$UNSET/8"])
def test_a_shard_is_a_number_below_a_count(written: str) -> None:
    with pytest.raises(BadInput, match="a shard is NUMBER/COUNT"):
        parse(written)
    assert parse("3/8") == (3, 8)


class Driver:
    """A planner with two workers, on a ledger that all drivers share."""

    def __init__(self, number: int, ledger: dict[tuple[str, Phase], Record], folder: Path, clock: list[float]) -> None:
        made = study(**BIG)
        cells = expand(made)
        names = [cell.name for cell in cells]
        self.leases = Leases(LocalStore(folder), "tiny", f"d{number}", 60.0, lambda: clock[0])
        find = lambda trial_id, phase: ledger.get((trial_id, phase))  # noqa: E731
        self.planner = Planner(made, cells, find, share=Stealing(Shard(number, 3, names), self.leases))
        self.ledger, self.running, self.trained = ledger, list[Trial](), list[str]()

    def step(self) -> None:
        while len(self.running) < 2 and (trial := self.planner.next()) is not None:
            self.running.append(trial)
        if self.running:
            trial = self.running.pop(0)
            self.trained.append(trial.id)
            outcome = self.ledger.setdefault((trial.id, trial.phase), record(trial, 1.0 + int(trial.id, 16) % 97))
            self.planner.finish(trial, outcome)


@pytest.mark.parametrize("seed", range(4))
def test_idle_drivers_take_the_work_of_a_dead_one_and_of_slow_ones_and_the_study_is_complete(
    seed: int, tmp_path: Path
) -> None:
    dice, clock = random.Random(seed), [0.0]
    ledger: dict[tuple[str, Phase], Record] = {}
    drivers = [Driver(number, ledger, tmp_path, clock) for number in range(3)]
    dead, slow = drivers[0], drivers[1]
    for turn in range(3000):
        clock[0] += 1.0
        alive = drivers if turn < 6 else drivers[1:]
        for driver in dice.sample(alive, len(alive)):
            if driver is not slow or turn % 7 == 0:
                driver.step()
        if turn % 15 == 0:
            for driver in alive:
                driver.leases.renew()
        if all(driver.planner.done for driver in alive):
            break
    assert all(driver.planner.done for driver in drivers[1:])
    assert len(ledger) == drivers[1].planner.total == 4 * (5 + 3 * 2 + 2)
    trained = [trial for driver in drivers for trial in driver.trained]
    assert set(trained) == {trial for trial, _ in ledger}
    assert len(trained) - len(set(trained)) <= len(dead.running), "only what the dead one had begun is trained twice"
    assert len(drivers[2].trained) > len(slow.trained)


def test_a_driver_leases_no_more_cells_than_keep_its_workers_busy(tmp_path: Path) -> None:
    driver = Driver(0, {}, tmp_path, [0.0])
    driver.step()
    assert len(driver.leases.held()) == 1
