"""Conditions of a study's own: a hyperparameter is searched only `when` others have listed values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from orchestrator.study.axes import Axis
from orchestrator.study.hyperparameters import declared
from orchestrator.study.keys import Interval, Listed
from workloads.hparams import Choice, UnknownName, Value

When = Mapping[str, tuple[Value, ...]]
"""By full name, the values of which one is needed."""


def when_of(written: object) -> When:
    """The condition of what a study writes of a hyperparameter."""
    return written.when if isinstance(written, Interval | Listed) else {}


def check_conditions(space: Mapping[str, object], parts: Iterable[str]) -> None:
    """Refuse conditions on what there is not, on values that cannot be, and on one another in a circle."""
    used = {*parts}
    for name, written in space.items():
        for other, values in when_of(written).items():
            part, _, hparam = other.partition(".")
            where = f"space '{name}'.when"
            if part not in used:
                raise UnknownName("part", part, used, where)
            if hparam not in declared(part):
                raise UnknownName("hyperparameter", hparam, declared(part), where)
            try:
                for value in values:
                    declared(part)[hparam].range.check(value)
            except ValueError as err:
                raise ValueError(f"{where}: {other} {err}") from None
            if isinstance(space.get(other), Interval):
                raise ValueError(
                    f"{where} looks at listed values: got {other}, which space gives a range; list its values"
                )
    try:
        TopologicalSorter({name: [*when_of(written)] for name, written in space.items()}).prepare()
    except CycleError as err:
        circle = " -> ".join(err.args[1])
        raise ValueError(f"space: conditions must not go in a circle: got {circle}; remove one when") from None


def under(axis: Axis, when: When) -> Axis:
    """An axis that acts under a condition beside those that its part declares; raises ValueError where none is left."""
    only = dict(axis.only)
    for name, values in when.items():
        only[name] = tuple(value for value in values if value in only.get(name, values))
        if not only[name]:
            raise ValueError(
                f"space: {axis.name} acts only if {name} is {_words(axis.only[name])}: got when {_words(values)}"
            )
    return replace(axis, only=only)


def in_order(axes: Sequence[Axis], fixed: Mapping[str, Value], whens: Mapping[str, When]) -> list[Axis]:
    """Axes with those first that others look at, else as they were; raises ValueError for one that never acts."""
    by_name = {axis.name: axis for axis in axes}
    for name, when in whens.items():
        for other, values in when.items():
            part, _, hparam = other.partition(".")
            limits = by_name[other].range if other in by_name else None
            if limits is not None and not isinstance(limits, Choice):
                raise ValueError(
                    f"space: {name} looks at listed values: got when {other}, which is searched as a range"
                )
            there = limits.options if limits is not None else (fixed.get(other, declared(part)[hparam].default),)
            if not set(there) & set(values):
                raise ValueError(
                    f"space: {name} would never be searched: it needs {other} to be {_words(values)}, and that is "
                    f"{_words(there)}; change one of them"
                )
    found: dict[str, Axis] = {}

    def add(axis: Axis) -> None:
        for other in axis.only:
            if other in by_name and other not in found:
                add(by_name[other])
        found.setdefault(axis.name, axis)

    for axis in axes:
        add(axis)
    return list(found.values())


def _words(values: Iterable[Value]) -> str:
    return " or ".join(map(str, values))
