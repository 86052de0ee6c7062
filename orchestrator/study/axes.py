"""What a cell searches: an axis per hyperparameter, narrowed by the study, or centred on the workload's setting."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.study.keys import Interval, Listed
from workloads.hparams import Choice, Field, Float, Int, Range, Value

RATE: Final = math.sqrt(10)
"""The learning rate is searched over one decade, from a setting / √10 to that setting · √10."""
DECAY: Final = 10.0
"""A weight decay is searched over two decades around its setting."""
FROM_ZERO: Final = Float(1e-6, 1e-2, log=True)
"""Of a weight decay whose setting is 0: DomainBed's range (Gulrajani and Lopez-Paz, ICLR 2021)."""


@dataclass(frozen=True)
class Axis:
    """One searched hyperparameter `part.name`: its range, the value tried first, and the condition as full names."""

    name: str
    range: Range
    first: Value
    only: Mapping[str, tuple[Value, ...]]

    def inside(self, value: Value) -> Value:
        """The value, or the end of a range of numbers that is nearest: a first value may lie outside, as 0 of a log."""
        if isinstance(self.range, Choice) or isinstance(value, bool | str):
            return value
        return min(max(value, self.range.low), self.range.high)


def _rate(limits: Float, centre: float) -> Float:
    return limits.narrow(max(limits.low, centre / RATE), min(limits.high, centre * RATE), True)


def _decay(limits: Float, centre: float) -> Float:
    return limits.narrow(centre / DECAY, min(limits.high, centre * DECAY), True) if centre > 0 else FROM_ZERO


BASE: Final[Mapping[str, Callable[[Float, float], Float]]] = {"train.lr": _rate, "train.weight_decay": _decay}
"""What is searched in every cell alike, so that the base is tuned as well as the methods, and its log range."""


def axis_around(name: str, field: Field, setting: Value, first: Value) -> Axis:
    """An axis of `BASE` around the workload's setting; the first trial keeps `first`, which may lie outside.

    A published rate of one recipe alone, or a weight decay of 0, is tried as it is. The range is that of all recipes.
    """
    assert isinstance(field.range, Float)
    return Axis(name, BASE[name](field.range, float(setting)), first, {})


def axis_in(name: str, field: Field, limits: Range, default: Value) -> Axis:
    """The first trial takes the paper's or the workload's setting, or the nearest value of a narrowed range."""
    first = default
    if isinstance(limits, Choice):
        first = default if default in limits.options else limits.options[0]
    elif not isinstance(default, bool | str):
        first = min(max(default, limits.low), limits.high)
    part = name.partition(".")[0]
    only = {f"{part}.{sibling}": allowed for sibling, allowed in field.only.siblings.items()}
    return Axis(name, limits, first, only)


def narrowed(name: str, field: Field, written: Interval | Listed | tuple[Value, ...]) -> Range:
    """A range as a study narrows or lists it; raises ValueError."""
    try:
        written = written.values if isinstance(written, Listed) else written
        if isinstance(written, tuple):
            return Choice(*(field.range.check(value) for value in written))
        if isinstance(field.range, Choice):
            raise ValueError(f"is one of {field.range}: got a range; list values instead")
        return field.range.narrow(written.low, written.high, written.log)
    except ValueError as err:
        raise ValueError(f"space: {name} {err}") from None


def ends(limits: Range) -> tuple[Value, ...]:
    """The values between which a range lies, or all that it lists."""
    return limits.options if isinstance(limits, Choice) else (limits.low, limits.high)


def at(axis: Axis, share: float) -> Value:
    """The value below which a share, in [0, 1], of an axis's distribution lies; as Optuna draws, listed values alike.

    Whole numbers have the width 1, or the step, around them, of their logarithm where they are drawn by that.
    """
    limits = axis.range
    if isinstance(limits, Choice):
        return limits.options[min(int(share * len(limits.options)), len(limits.options) - 1)]
    low, high = _edges(limits)
    drawn = math.exp(low + share * (high - low)) if limits.log else low + share * (high - low)
    if isinstance(limits, Float):
        return min(max(drawn, limits.low), limits.high)
    whole = limits.low + limits.step * round((drawn - limits.low) / limits.step)
    last = limits.high - (limits.high - limits.low) % limits.step
    return min(max(whole, limits.low), last)


def share_of(axis: Axis, value: Value) -> float:
    """The share, in [0, 1], at which a number lies of its axis."""
    assert not isinstance(axis.range, Choice)
    low, high = _edges(axis.range)
    drawn = math.log(float(value)) if axis.range.log else float(value)
    return (drawn - low) / (high - low) if high > low else 0.5


def _edges(limits: Float | Int) -> tuple[float, float]:
    """The ends of a range on its scale, with half a step around whole numbers."""
    last = limits.high if isinstance(limits, Float) else limits.high - (limits.high - limits.low) % limits.step
    half = 0.0 if isinstance(limits, Float) else limits.step / 2
    low, high = limits.low - half, last + half
    return (math.log(low), math.log(high)) if limits.log else (float(low), float(high))
