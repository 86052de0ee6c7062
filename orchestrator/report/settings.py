"""Searched hyperparameters of a cell, and the setting that was selected, in words."""

from orchestrator.report.formats import NOTHING
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
