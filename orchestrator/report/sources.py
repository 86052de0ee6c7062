"""The studies that a report is made of: one table per workload, whichever of them trained its rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from orchestrator.errors import BadInput
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.asked import Asked
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from workloads.recipe import Recipe


@dataclass(frozen=True)
class Source:
    """A study with its plan, and the ledger of its storage."""

    study: Study
    planner: Planner
    ledger: Ledger


@dataclass(frozen=True)
class Rows:
    """The cells of one workload in the order of their table, and the study of each."""

    plans: list[CellPlan]
    sources: list[Source]

    def __iter__(self) -> Iterator[tuple[CellPlan, Source]]:
        """Every cell with its study."""
        return zip(self.plans, self.sources, strict=True)

    def of(self, source: Source) -> list[CellPlan]:
        """The cells of one study."""
        return [plan for plan, own in self if own is source]


def lined_up(sources: Sequence[Source], asked: Asked) -> dict[str, Rows]:
    """The rows of every workload's table.

    A recipe that several studies have is told apart by their names, unless it is the very same trials: then it is one
    row. Raises BadInput where studies of one workload have other data or repeat tuning differently, or one name stands
    for two.
    """
    names = [source.study.study for source in sources]
    if len(set(names)) < len(names):
        raise BadInput(
            f"studies of one report must have names of their own: got {', '.join(names)}; rename one of them"
        )
    found: dict[str, list[tuple[Source, CellPlan]]] = {}
    alike: dict[tuple[str, Recipe], list[tuple[Source, CellPlan]]] = {}
    for source in sources:
        for plan in source.planner.plans:
            rows = found.setdefault(plan.cell.workload, [])
            if rows and _repeats(first := rows[0][0]) != _repeats(source):
                raise BadInput(
                    f"rows of one table must repeat tuning alike: {plan.cell.workload} has {_repeats(first)} in study "
                    f"{first.study.study}, {_repeats(source)} in study {source.study.study}; report them apart"
                )
            if rows and rows[0][1].cell.data != plan.cell.data:
                raise BadInput(
                    f"rows of one table must be of the same data: {plan.cell.workload} is {rows[0][1].cell.data} in "
                    f"study {rows[0][0].study.study}, {plan.cell.data} in study {source.study.study}; report them apart"
                )
            of_recipe = alike.setdefault((plan.cell.workload, plan.cell.recipe), [])
            if not any(_same(plan, other) for _, other in of_recipe):
                rows.append((source, plan))
                of_recipe.append((source, plan))
    several = {key for key, pairs in alike.items() if len({source.study.study for source, _ in pairs}) > 1}
    every = [
        (source, replace(plan, study=source.study.study) if (workload, plan.cell.recipe) in several else plan)
        for workload, rows in found.items()
        for source, plan in rows
    ]
    kept = {id(plan) for plan in asked.kept([plan for _, plan in every])}
    made: dict[str, Rows] = {}
    for source, plan in every:
        if id(plan) in kept:
            rows_of = made.setdefault(plan.cell.workload, Rows([], []))
            rows_of.plans.append(plan)
            rows_of.sources.append(source)
    return made


def _repeats(source: Source) -> str:
    """How a study repeats tuning, in words: replicates are paired by number, as seeds are where there are none."""
    replicates, seeds = source.study.tune.replicates, source.study.evaluate.seeds
    return "no replicates" if replicates == 1 else f"{replicates} replicates of {seeds} seeds"


def _same(plan: CellPlan, other: CellPlan) -> bool:
    """Whether two cells of one recipe were evaluated by the very same trials."""
    ours, theirs = ([record.trial_id for record in cell.records("evaluate")] for cell in (plan, other))
    return ours == theirs and bool(ours)


def bases_of(rows: Rows) -> dict[str, str]:
    """For every row the name of that of its objective alone: in its own study, or else in the first that has it."""
    alone: dict[str, list[tuple[Source, str]]] = {}
    for plan, source in rows:
        alone.setdefault(str(plan.cell.recipe), []).append((source, plan.row))
    found: dict[str, str] = {}
    for plan, source in rows:
        objective = plan.cell.recipe.objective
        theirs = alone.get(objective, [])
        anywhere = theirs[0][1] if theirs else objective
        found[plan.row] = next((row for own, row in theirs if own is source), anywhere)
    return found
