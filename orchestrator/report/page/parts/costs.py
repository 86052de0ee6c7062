"""What every recipe was given, and what it took."""

from collections.abc import Sequence

from orchestrator.ledger.records import Record
from orchestrator.report.budgets import spent
from orchestrator.report.page.grid import Cell, Column, Line, grid
from orchestrator.report.page.part import Part
from orchestrator.report.sections import Results, Section
from orchestrator.study.cell_plan import CellPlan

HEADS = ("Trials", "Stopped", "Their epochs", "Seeds", "Their epochs", "Failed", "Device s", "s per epoch", "GB")


def costs(results: Results, section: Section) -> Part:
    """Trials, epochs and seconds on the device, by recipe; that budgets differ is said."""
    heads = [Column("Recipe", words=True), *map(Column, HEADS)]
    lines = [Line([plan.label, *_cells(plan)]) for plan in section.plans]
    used = [p.cell.recipe.trainings * sum(record.epochs_run for record in p.records("tune")) for p in section.plans]
    notes = [
        "Trials of tuning, with those that early stopping ended; seeds of the selected setting. Device s: seconds in "
        "which trials held a device. GB: the most memory that the process of a trial held, and of a GPU where there "
        "was one; records of earlier releases do not say it. Controls take no training."
    ]
    if min(used) < max(used):
        notes.append(f"Tuning was not given alike: from {min(used)} to {max(used)} epochs were used.")
    return Part("costs", "Budgets and costs", grid("What training took", heads, lines), notes=tuple(notes))


def _cells(plan: CellPlan) -> list[Cell]:
    tune, evaluate = plan.records("tune"), plan.records("evaluate")
    times, used = plan.cell.recipe.trainings, spent([plan])
    counts = (
        len(tune),
        sum(record.status == "stopped" for record in tune),
        times * sum(record.epochs_run for record in tune),
        sum(record.status == "completed" for record in evaluate),
        times * sum(record.epochs_run for record in evaluate),
        len(plan.failures()),
    )
    each = used.device_s / used.epochs if used.epochs else 0.0
    return [
        *(Cell(f"{count:,}", order=count) for count in counts),
        Cell(f"{used.device_s:,.1f}", order=used.device_s),
        Cell(f"{each:.3g}", order=each),
        _memory([*tune, *evaluate]),
    ]


def _memory(records: Sequence[Record]) -> Cell:
    """The most of the host, and of a GPU, that a trial took."""
    host = max((record.memory_mb for record in records if record.memory_mb is not None), default=None)
    if host is None:
        return Cell("–", order=0.0)
    device = max((r.device_memory_mb for r in records if r.device_memory_mb is not None), default=None)
    return Cell(f"{host / 1024:.2g}", "" if device is None else f"GPU {device / 1024:.2g}", order=host)
