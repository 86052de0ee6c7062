"""Searched hyperparameters of a cell, and the setting that was selected, in words."""

from collections.abc import Sequence

from orchestrator.report.formats import NOTHING, named
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.cells import Cell


def settings_of(plan: CellPlan) -> str:
    """The selected settings of a cell that were searched, in words."""
    if plan.settings is None:
        return NOTHING
    words = (
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in plan.settings.items()
    )
    return ", ".join(words) or "nothing to search"


def ranges(cell: Cell) -> list[tuple[str, str, str, str]]:
    """Searched hyperparameters of a cell: name, range, first value, condition."""
    return [
        (
            axis.name,
            str(axis.range),
            str(axis.first),
            " and ".join(f"{name} = {' or '.join(map(str, allowed))}" for name, allowed in axis.only.items()),
        )
        for axis in cell.axes
    ]


def ranges_by_workload(cells: Sequence[Cell]) -> list[str]:
    """Every range of every workload as a line; where recipes of one have several, each says whose it is."""
    found: dict[str, dict[str, dict[tuple[str, str, str], list[str]]]] = {}
    for cell in cells:
        for name, limits, first, only in ranges(cell):
            of_name = found.setdefault(cell.workload, {}).setdefault(name, {})
            of_name.setdefault((limits, first, only), []).append(str(cell.recipe))
    lines = []
    for workload, names in found.items():
        lines.append(f"  ranges of {workload}:")
        for name, every in names.items():
            for (limits, first, only), recipes in every.items():
                whose = f"  in {named(list(dict.fromkeys(recipes)))}" if len(every) > 1 else ""
                lines.append(f"    {name:22} {limits:34} first {first}{f'  only if {only}' if only else ''}{whose}")
    return lines
