"""What a cell searches: an axis per hyperparameter, narrowed by the study, or centred on the workload's setting."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.study.keys import Interval
from workloads.hparams import Choice, Field, Float, Range, Value

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


def _rate(declared: Float, centre: float) -> Float:
    return declared.narrow(max(declared.low, centre / RATE), min(declared.high, centre * RATE), True)


def _decay(declared: Float, centre: float) -> Float:
    return declared.narrow(centre / DECAY, min(declared.high, centre * DECAY), True) if centre > 0 else FROM_ZERO


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


def narrowed(name: str, field: Field, written: Interval | tuple[Value, ...]) -> Range:
    """A range as a study narrows or lists it; raises ValueError."""
    try:
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
