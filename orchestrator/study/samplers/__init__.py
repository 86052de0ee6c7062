"""Samplers by name: each is a file of this folder, or a package that brings an entry point. Imports none of them."""

import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from orchestrator.study.samplers.family import Family

GROUP: Final = "tailsweep.samplers"
"""Entry points of samplers that are installed beside the ones here: `name = "module:CLASS"`, a `Family`."""
FAMILIES: Final[dict[str, str]] = {
    "tpe": "tpe:Tpe",
    "random": "paired:Random",
    "grid": "grid:Grid",
    "qmc": "qmc:Qmc",
    "gp": "gp:Gp",
    "cmaes": "cmaes:Cmaes",
}


def installed() -> dict[str, EntryPoint]:
    """Samplers that are installed, by name; their code is not imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def known(name: str) -> str:
    """The name of a sampler; raises ValueError."""
    if name not in FAMILIES and name not in (others := installed()):
        raise ValueError(f"tune.sampler is one of {', '.join([*FAMILIES, *others])}: got {name!r}")
    return name


@cache
def sampler_named(name: str) -> "Family":
    """The sampler of a name; a shipped one wins over an installed one."""
    if name in FAMILIES:
        module, _, kind = FAMILIES[name].partition(":")
        made: Family = getattr(importlib.import_module(f"{__name__}.{module}"), kind)()
        return made
    found: Family = installed()[name].load()()
    return found
