from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import score
from orchestrator.ledger.records import CurveRow
from orchestrator.study.rungs import Climb, Goal, errors, goals, kept, most

RUNGS, EPOCHS = (2, 4, 8), 16
reported = st.one_of(st.none(), st.floats(-100, 100))
whole = st.lists(st.lists(reported, min_size=len(RUNGS), max_size=len(RUNGS)), min_size=1, max_size=12)
fails_at = st.integers(0, 2 * len(RUNGS))
"""The rung before which a trial fails; most fail at none."""


class Race:
    """A population that trains: every trial to its goal, in an order that is drawn; some fail on the way."""

    def __init__(self, table: list[list[float | None]], failing: list[int], reduction: int) -> None:
        self.table, self.failing, self.reduction = table, failing, reduction
        self.climbs = {number: Climb(()) for number in range(len(table))}
        self.epochs = dict.fromkeys(self.climbs, 0)
        self.steps = 0

    @property
    def goals(self) -> dict[int, Goal]:
        return goals(RUNGS, EPOCHS, self.reduction, self.climbs)

    def open(self) -> list[int]:
        found = self.goals
        return [n for n, climb in self.climbs.items() if not self.over(n, found[n]) and not climb.failed]

    def over(self, number: int, goal: Goal) -> bool:
        return goal.stops or self.epochs[number] >= goal.epochs

    def train(self, number: int) -> None:
        self.steps += 1
        goal = self.goals[number]
        reached = len(self.climbs[number].errors)
        if reached == self.failing[number]:
            self.climbs[number] = Climb(self.climbs[number].errors, failed=True)
            return
        self.epochs[number] = goal.epochs
        if goal.epochs in RUNGS:
            self.climbs[number] = Climb((*self.climbs[number].errors, self.table[number][reached]))


@given(whole, st.data(), st.integers(2, 4))
def test_any_order_of_arrival_gives_the_same_decisions(
    table: list[list[float | None]], data: st.DataObject, reduction: int
) -> None:
    failing = data.draw(st.lists(fails_at, min_size=len(table), max_size=len(table)))
    straight, mixed = Race(table, failing, reduction), Race(table, failing, reduction)
    while ready := straight.open():
        straight.train(ready[0])
    while ready := mixed.open():
        mixed.train(data.draw(st.sampled_from(ready)))
    assert straight.goals == mixed.goals
    assert straight.epochs == mixed.epochs
    assert sum(straight.epochs.values()) <= most(RUNGS, EPOCHS, reduction, len(table))


@given(whole, st.integers(2, 4))
def test_nobody_of_the_best_of_a_rung_is_stopped_there(table: list[list[float | None]], reduction: int) -> None:
    race = Race(table, [len(RUNGS) + 1] * len(table), reduction)
    while ready := race.open():
        race.train(ready[0])
    alive = set(race.climbs)
    for rung, at in enumerate(RUNGS):
        stopped = {n for n, goal in race.goals.items() if goal == Goal(at, stops=True)}
        going = alive - stopped
        assert len(going) == ceil(len(alive) / reduction)
        place = {n: (race.table[n][rung] is None, race.table[n][rung] or 0.0, n) for n in alive}
        assert all(place[n] < place[other] for n in going for other in stopped)
        alive = going
    assert {race.epochs[n] for n in alive} == {EPOCHS}


def test_nobody_goes_on_before_the_last_one_is_there() -> None:
    climbs = {0: Climb((1.0,)), 1: Climb((2.0,)), 2: Climb(())}
    assert goals(RUNGS, EPOCHS, 2, climbs) == dict.fromkeys(range(3), Goal(2))
    assert goals(RUNGS, EPOCHS, 2, {**climbs, 2: Climb((), failed=True)})[0] == Goal(4)


def test_a_population_of_eight_that_halves_trains_half_of_all_epochs() -> None:
    assert most((4, 8), 16, 2, 8) == 8 * 4 + 4 * 4 + 2 * 8 == 8 * 16 // 2
    assert most((), 16, 2, 8) == 8 * 16


def curve(*values: float | None, few: tuple[float, ...] = ()) -> list[CurveRow]:
    rare = [score(value, "few") for value in few] or [score(None, "few")] * len(values)
    return [CurveRow(e, 0, 1.0, (score(value), rare[e])) for e, value in enumerate(values)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, (3.0, 2.0)), ({"train.keep": "last"}, (5.0, 4.0)), ({"train.monitor": "val/mae/few"}, (3.0, 2.0))],
)
def test_a_rung_compares_what_a_trial_would_have_kept_had_it_ended_there(
    settings: dict[str, str], expected: tuple[float, ...]
) -> None:
    made = curve(3.0, 5.0, 2.0, 4.0, few=(1.0, 2.0, 0.5, 3.0))
    assert errors(made, settings, "val/mae/all", RUNGS) == expected
    assert errors(made, {**settings, "train.monitor": "val/pearson/all"}, "val/pearson/all", (2,)) == (None,)


def test_where_more_is_better_the_error_is_less_and_an_epoch_without_a_score_is_passed_over() -> None:
    rows = [CurveRow(e, 0, 1.0, (score(value, metric="pearson"),)) for e, value in enumerate([0.1, 0.9, 0.5])]
    settings = {"train.monitor": "val/pearson/all"}
    assert errors(rows, settings, "val/pearson/all", (1, 3)) == (-0.1, -0.9)
    assert kept([*rows, CurveRow(3, 0, 1.0, ())], {**settings, "train.keep": "last"}).epoch == 2
