"""Synchronous successive halving: who goes on after a rung. Pure functions of what trials reported.

A population is decided together, when all of it are at a rung or have failed. So a decision depends on scores and
numbers, and not on who came first (Jamieson and Talwalkar, AISTATS 2016, arXiv:1502.07943).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf

from orchestrator.ledger.records import CurveRow, Settings
from orchestrator.study.space import sign_of
from workloads.training import LOOP


@dataclass(frozen=True)
class Climb:
    """How far a trial of a population came: its error at every rung that it has reached, None where it has no score.

    `failed` is one that goes no further.
    """

    errors: tuple[float | None, ...]
    failed: bool = False


@dataclass(frozen=True)
class Goal:
    """The epochs until which a trial trains next; with `stops` it has them, and trains no more."""

    epochs: int
    stops: bool = False


def goals(rungs: Sequence[int], epochs: int, reduction: int, climbs: Mapping[int, Climb]) -> dict[int, Goal]:
    """What follows for every trial of a population, by number.

    At each rung one in `reduction`, rounded up, of those that set out for it goes on: the least errors, and of equal
    ones the lower numbers. A trial that failed on the way counts among those that set out.
    """
    found: dict[int, Goal] = {}
    climbing = sorted(climbs)
    for rung, at in enumerate(rungs):
        arrived = [number for number in climbing if len(climbs[number].errors) > rung]
        found |= {number: Goal(at) for number in climbing}
        if any(number not in arrived and not climbs[number].failed for number in climbing):
            return found

        def place(number: int, rung: int = rung) -> tuple[float, int]:
            error = climbs[number].errors[rung]
            return inf if error is None else error, number

        best = sorted(arrived, key=place)
        going = ceil(len(climbing) / reduction)
        found |= {number: Goal(at, stops=True) for number in best[going:]}
        climbing = sorted(best[:going])
    return found | {number: Goal(epochs) for number in climbing}


def most(rungs: Sequence[int], epochs: int, reduction: int, trials: int) -> int:
    """The most epochs that a population of so many trials trains."""
    total, before = 0, 0
    for rung in rungs:
        total += trials * (rung - before)
        trials, before = ceil(trials / reduction), rung
    return total + trials * (epochs - before)


def errors(curve: Sequence[CurveRow], settings: Settings, rule: str, rungs: Sequence[int]) -> tuple[float | None, ...]:
    """The error at every rung that a learning curve has reached: the score `rule`, of a trial that ended there."""
    sign = sign_of(rule)
    reached = [kept(curve[:rung], settings) for rung in rungs if len(curve) >= rung]
    values = [row.score(rule) for row in reached]
    return tuple(None if value is None else sign * value for value in values)


def kept(curve: Sequence[CurveRow], settings: Settings) -> CurveRow:
    """The epoch of the first stage whose weights a trial would keep if this were all of it: `train.keep`."""
    monitor, keep = str(settings.get("train.monitor", LOOP.monitor)), settings.get("train.keep", LOOP.keep)
    scored = [(sign_of(monitor) * value, row.epoch, row) for row in curve if (value := row.score(monitor)) is not None]
    if not scored:
        return curve[-1]
    return min(scored, key=lambda item: item[:2])[2] if keep == "best" else scored[-1][2]
