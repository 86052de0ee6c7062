import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.storage.leases import Leases
from orchestrator.storage.store import LocalStore

TTL = 60.0


@dataclass
class Clock:
    """A driver's clock: it shows another time than the others', and runs a little fast or slow."""

    offset: float = 0.0
    rate: float = 1.0
    true: list[float] = field(default_factory=lambda: [0.0])

    def __call__(self) -> float:
        return self.offset + self.rate * self.true[0]


def driver(folder: Path, name: str, clock: Clock) -> Leases:
    return Leases(LocalStore(folder), "tiny", name, TTL, clock)


@pytest.mark.parametrize("seed", range(5))
def test_drivers_that_renew_never_hold_the_same_lease_however_far_apart_their_clocks_are(
    seed: int, tmp_path: Path
) -> None:
    dice, true = random.Random(seed), [0.0]
    clocks = [Clock(dice.uniform(-1e6, 1e6), dice.uniform(0.95, 1.05), true) for _ in range(3)]
    drivers = [driver(tmp_path, f"d{i}", clock) for i, clock in enumerate(clocks)]
    names = ["a", "b"]
    taken = set()
    for step in range(150):
        true[0] += dice.uniform(0, TTL / 8)
        for one in dice.sample(drivers, 3):
            for name in names:
                if one.hold(name):
                    taken.add((one._owner, name))
            if dice.random() < 0.1:
                one.release(dice.choice(names))
        if step % 2:
            for one in drivers:
                one.renew()
        for name in names:
            assert sum(name in one.held() for one in drivers) <= 1
    assert len(taken) > 2, "leases changed hands"


def test_a_driver_that_froze_loses_its_lease_and_knows_it_when_it_wakes(tmp_path: Path) -> None:
    true = [0.0]
    frozen, awake = (driver(tmp_path, name, Clock(offset, 1.0, true)) for name, offset in (("f", 5e5), ("w", -5e5)))
    assert frozen.hold("cell")
    assert not awake.hold("cell")
    for _ in range(8):
        true[0] += TTL / 4
        awake.renew()
        took = awake.hold("cell")
        if true[0] <= TTL:
            assert not took
    assert took
    assert not frozen.hold("cell"), "it finds the other's lease before it works on"
    assert awake.hold("cell")


def test_a_released_lease_is_taken_at_once(tmp_path: Path) -> None:
    first, second = (driver(tmp_path, name, Clock()) for name in "ab")
    assert first.hold("cell")
    first.release("cell")
    assert second.hold("cell")
    assert not first.hold("cell")


def test_a_lease_of_another_is_not_asked_for_all_the_time(tmp_path: Path) -> None:
    true = [0.0]
    holder, other = (driver(tmp_path, name, Clock(0.0, 1.0, true)) for name in "ab")
    assert holder.hold("cell")
    asked = []
    keys = other._store.keys
    other._store.keys = lambda prefix: asked.append(prefix) or keys(prefix)  # type: ignore[method-assign]
    for _ in range(100):
        assert not other.hold("cell")
    assert len(asked) == 1
