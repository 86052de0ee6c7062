"""Which cells come first: patterns of names, with numbers."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

from orchestrator.study.stopping import Searched

Priority: TypeAlias = Mapping[str, float] | Sequence[str]


def priorities(priority: Priority, cells: Sequence[Searched]) -> dict[str, float]:
    """The priority of every cell by its name, the highest first; 0 where no pattern is of it.

    A pattern is of a workload, of a recipe, or of a cell (`workload/recipe`); the first that fits counts. Raises
    ValueError for one that is of none.
    """
    known = _numbers(priority)
    fits = {pattern: [cell.name for cell in cells if _of(pattern, cell)] for pattern in known}
    for pattern, names in fits.items():
        if not names:
            few = ", ".join(dict.fromkeys(name for cell in cells[:3] for name in (cell.workload, str(cell.recipe))))
            raise ValueError(
                f"priority names workloads, recipes or cells of the study, as patterns: got {pattern!r}, which is of "
                f"none; there are {few}, …"
            )
    found = dict.fromkeys((cell.name for cell in cells), 0.0)
    for pattern, names in reversed(fits.items()):
        found |= dict.fromkeys(names, known[pattern])
    return found


def _numbers(priority: Priority) -> dict[str, float]:
    """A list is from the first to the last; what it lacks comes behind."""
    if isinstance(priority, Mapping):
        return dict(priority)
    return {pattern: float(len(priority) - place) for place, pattern in enumerate(priority)}


def _of(pattern: str, cell: Searched) -> bool:
    names = (cell.workload, str(cell.recipe), f"{cell.workload}/{cell.recipe}")
    return any(fnmatchcase(name, pattern) for name in names)
