"""Early-stopping rules by name, with what they do unless a study says otherwise. Does not import torch or Ray."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Final

GROUP: Final = "tailsweep.schedulers"
"""Entry points of rules that are installed beside the ones here."""


@dataclass(frozen=True)
class Rule:
    """How many trials are compared, one in how many goes on, and which part of the epochs comes before."""

    population: int = 9
    reduction: int = 3
    part: int = 9


HALVING: Final = "halving"
RULES: Final[dict[str, Rule | None]] = {
    "none": None,
    HALVING: Rule(population=8, reduction=2, part=4),
    "asha": Rule(),
    "hyperband": Rule(),
    "median": Rule(),
}
"""All but `halving` stop a trial as soon as it reports, by those that have come as far."""


def installed() -> dict[str, EntryPoint]:
    """Rules that are installed, by name; their code is not imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def known(name: str) -> str:
    """The name of a rule; raises ValueError."""
    if name not in RULES and name not in (others := installed()):
        raise ValueError(f"tune.scheduler is one of {', '.join([*RULES, *others])}: got {name!r}")
    return name


def rule(name: str) -> Rule | None:
    """What the rule of a name does; None without early stopping."""
    return RULES.get(name, Rule())
