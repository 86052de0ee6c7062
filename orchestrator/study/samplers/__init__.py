"""Samplers by name: each is a file of this folder, or a package that brings an entry point. Imports none of them."""

import importlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Protocol

GROUP: Final = "tailsweep.samplers"
"""Entry points of samplers that are installed beside the ones here: `name = "module:CLASS"`, a `Family`."""
FAMILIES: Final[dict[str, str]] = {
    "tpe": "tpe:Tpe",
    "random": "paired:Random",
    "grid": "grid:Grid",
    "qmc": "qmc:Qmc",
    "gp": "gp:Gp",
    "cmaes": "cmaes:Cmaes",
    "nsgaii": "nsgaii:Nsgaii",
}


class Sampler(Protocol):
    """What is asked of a sampler; `family.Family` says what it means. Cells stand above this file."""

    words: str
    unshaped: str
    several: bool
    protocols: frozenset[int]

    def learns(self, number: int, protocol: int) -> bool: ...

    def random(self, trials: int, protocol: int) -> int: ...

    def suggest(
        self, cell: Any, number: int, history: Sequence[Any], directions: Sequence[Any]
    ) -> dict[str, bool | int | float | str]: ...

    def size(self, cell: Any) -> int | None: ...

    def refused(self, cell: Any, trials: int) -> str: ...


def installed() -> dict[str, EntryPoint]:
    """Samplers that are installed, by name; their code is not imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def known(name: str) -> str:
    """The name of a sampler; raises ValueError."""
    if name not in FAMILIES and name not in (others := installed()):
        raise ValueError(f"tune.sampler is one of {', '.join([*FAMILIES, *others])}: got {name!r}")
    return name


@cache
def sampler_named(name: str) -> Sampler:
    """The sampler of a name; a shipped one wins over an installed one."""
    if name not in FAMILIES:
        found: Sampler = installed()[name].load()()
        return found
    module, _, kind = FAMILIES[name].partition(":")
    made: Sampler = getattr(importlib.import_module(f"{__name__}.{module}"), kind)()
    return made
