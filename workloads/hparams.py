"""Hyperparameters, declared once beside the part that reads them.

A part states type, default, range and condition of each hyperparameter in one line:

    class Hparams(Declared):
        kernel: Annotated[str, Choice("gaussian", "triang", "laplace")] = "gaussian"
        sigma: Annotated[float, Float(0.5, 4.0, log=True), Only(kernel=("gaussian", "laplace"))] = 2.0

From that line come validation, the search space, the report's table of ranges and the trial id. What must hold between
several of them is listed below: `laws = (Ordered("clip_low", "clip_high"),)` (`workloads.laws`).
"""

import dataclasses
import difflib
import functools
import math
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias, dataclass_transform

Value: TypeAlias = bool | int | float | str
Possible: TypeAlias = Mapping[str, Sequence[Any]]
"""Values that each hyperparameter of a declaration may have: one, the options, or both ends of a range."""


class UnknownName(ValueError):
    """A name that is in no registry; the message lists the known ones and the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        near.sort(key=lambda other: sorted(other) != sorted(name))  # letters in another order are the likeliest slip
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        place = f" in {where}" if where else ""
        super().__init__(f"no {kind} {name!r}{place}; known: {', '.join(names)}{hint}")


@dataclass(frozen=True)
class Float:
    """A real number in [low, high]; `log` samples its logarithm uniformly; `tune` puts it into the default search."""

    low: float
    high: float
    log: bool = False
    tune: bool = True

    def check(self, value: Value) -> Value:
        """Return `value` as a float; raises ValueError outside the range."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"must be a finite number: got {value!r}")
        if not self.low <= value <= self.high:
            raise ValueError(f"must lie in [{self.low:g}, {self.high:g}]: got {value!r}")
        return float(value)

    def narrow(self, low: Value, high: Value, log: bool | None = None) -> "Float":
        """Return the same kind of range between two values inside this one."""
        lo, hi = float(self.check(low)), float(self.check(high))
        if lo > hi:
            raise ValueError(f"low must not exceed high: got low={low!r}, high={high!r}")
        logarithmic = self.log if log is None else log
        if logarithmic and lo <= 0:
            raise ValueError(f"a log range must start above 0: got low={low!r}")
        return Float(lo, hi, logarithmic, self.tune)

    def __str__(self) -> str:
        return f"{self.low:g} … {self.high:g}" + (" (log)" if self.log else "")


@dataclass(frozen=True)
class Int:
    """A whole number low, low + step, …, high."""

    low: int
    high: int
    step: int = 1
    log: bool = False
    tune: bool = True

    def check(self, value: Value) -> Value:
        """Return `value`; raises ValueError when it is not one of the numbers of the range."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"must be a whole number: got {value!r}")
        if not self.low <= value <= self.high:
            raise ValueError(f"must lie in [{self.low}, {self.high}]: got {value}")
        if (value - self.low) % self.step:
            below = value - (value - self.low) % self.step
            raise ValueError(f"must be {self.low} plus a multiple of {self.step}: got {value}; try {below}")
        return value

    def narrow(self, low: Value, high: Value, log: bool | None = None) -> "Int":
        """Return the same kind of range between two values inside this one."""
        lo, hi = int(self.check(low)), int(self.check(high))
        if lo > hi:
            raise ValueError(f"low must not exceed high: got low={low!r}, high={high!r}")
        return Int(lo, hi, self.step, self.log if log is None else log, self.tune)

    def __str__(self) -> str:
        step = f" step {self.step}" if self.step != 1 else ""
        return f"{self.low} … {self.high}{step}" + (" (log)" if self.log else "")


@dataclass(frozen=True, init=False)
class Choice:
    """One of the listed values."""

    options: tuple[Value, ...]
    tune: bool = True

    def __init__(self, *options: Value, tune: bool = True) -> None:
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "tune", tune)

    def check(self, value: Value) -> Value:
        """Return the listed value that equals `value`; raises ValueError when there is none."""
        for option in self.options:
            if option == value and isinstance(option, bool) == isinstance(value, bool):
                return option
        near = difflib.get_close_matches(str(value), [str(o) for o in self.options], n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"must be one of {', '.join(map(str, self.options))}: got {value!r}{hint}")

    def __str__(self) -> str:
        return ", ".join(map(str, self.options))


Range: TypeAlias = Float | Int | Choice


class Only:
    """The condition under which a hyperparameter acts: each named sibling has one of the listed values."""

    def __init__(self, **siblings: tuple[Value, ...]) -> None:
        self.siblings: dict[str, tuple[Value, ...]] = siblings

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether the condition holds for a complete set of sibling values."""
        return all(values[name] in allowed for name, allowed in self.siblings.items())

    def __str__(self) -> str:
        return " and ".join(f"{name} = {' or '.join(map(str, allowed))}" for name, allowed in self.siblings.items())


@dataclass(frozen=True)
class Field:
    """One declared hyperparameter: its range, default and condition."""

    name: str
    range: Range
    default: Value
    only: Only


@dataclass(frozen=True)
class Frame:
    """What laws may look at beside hyperparameters: bins of the label grid, and epochs, the fewest of a trial."""

    bins: int
    epochs: int


class Law(Protocol):
    """What must hold between several hyperparameters of a declaration, or between one and the frame of a trial."""

    @property
    def names(self) -> tuple[str, ...]:
        """The hyperparameters that the law is about; it holds where all of them may act."""

    def broken(self, possible: Possible, frame: Frame) -> str:
        """What breaks the law, with the values and the way out; empty where nothing does."""


@dataclass_transform(frozen_default=True)
class Declared:
    """Base of every declaration; a subclass is a frozen dataclass whose values are checked when it is made.

    Raises ValueError for a value outside its range, and UnknownName for a name that is not declared
    (through `of`).
    """

    laws: ClassVar[tuple[Law, ...]] = ()

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)

    def __post_init__(self) -> None:
        for field in self.declared().values():
            value = getattr(self, field.name)
            try:
                object.__setattr__(self, field.name, field.range.check(value))
            except ValueError as err:
                raise ValueError(f"{field.name} {err}") from None

    @classmethod
    @functools.cache  # asked for every suggestion and every id
    def declared(cls) -> dict[str, Field]:
        """The fields in the order in which they are written; conditions only look at earlier ones."""
        if cls is Declared:
            return {}
        hints = typing.get_type_hints(cls, include_extras=True)
        fields: dict[str, Field] = {}
        for item in dataclasses.fields(typing.cast(Any, cls)):
            notes = typing.get_args(hints[item.name])[1:]
            limits = next(note for note in notes if isinstance(note, Float | Int | Choice))
            only = next((note for note in notes if isinstance(note, Only)), Only())
            fields[item.name] = Field(item.name, limits, typing.cast(Value, item.default), only)
        return fields

    @classmethod
    def of(cls, values: Mapping[str, Value], where: str) -> "typing.Self":
        """Make the declaration from a mapping; `where` names the part in messages."""
        known = cls.declared()
        for name in values:
            if name not in known:
                raise UnknownName("hyperparameter", name, known, where)
        try:
            return cls(**values)
        except ValueError as err:
            raise ValueError(f"{where}.{err}") from None

    @classmethod
    def broken(cls, possible: Possible, frame: Frame) -> str:
        """The first law that some of the possible values break, in words; empty where all hold."""
        fields = cls.declared()

        def may_act(name: str) -> bool:
            siblings = fields[name].only.siblings.items()
            return all(set(possible[sibling]) & set(allowed) for sibling, allowed in siblings)

        acting = (law for law in cls.laws if all(may_act(name) for name in law.names))
        return next((said for law in acting if (said := law.broken(possible, frame))), "")

    def active(self) -> dict[str, Value]:
        """The values that act: those whose condition holds."""
        values = {name: getattr(self, name) for name in self.declared()}
        return {name: values[name] for name, field in self.declared().items() if field.only.holds(values)}

    def changed(self) -> dict[str, Value]:
        """The active values that differ from their defaults: what the identity of a trial is made of."""
        fields = self.declared()
        return {name: value for name, value in self.active().items() if value != fields[name].default}
