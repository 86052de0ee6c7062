"""How many settings every cell tries, and what a whole study needs at most."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal, TypeAlias

from orchestrator.errors import BadInput
from orchestrator.study.cells import Cell
from orchestrator.study.keys import TRIALS
from orchestrator.study.rules import HALVING
from orchestrator.study.rungs import most
from orchestrator.study.samplers import sampler_named
from orchestrator.study.spec import Study
from orchestrator.study.stopping import limits
from workloads.training import LOOP

Step: TypeAlias = Literal["tune", "rescore", "evaluate"]
"""What a trial is for; those that rescore are of the phase `tune`."""
PER_AXIS: Final = "per_axis"


def tries(study: Study, cells: Sequence[Cell]) -> dict[str, int]:
    """The settings of every cell's search, by its name.

    `tune.trials`, or under `per_axis` so many for the cell with the fewest hyperparameters to search, and for others in
    proportion to theirs, rounded up: n = ⌈trials · axes / fewest axes⌉. A cell with nothing to search tries the
    published settings and those without them, and no cell tries more than its sampler has. Raises BadInput where a
    proportion is larger than a search may be.
    """
    fewest = min((len(cell.axes) for cell in cells if cell.axes), default=1)
    trials, found = study.tune.trials, {}
    for cell in cells:
        share = len(cell.axes) if study.tune.budget == PER_AXIS and cell.axes else fewest
        settings = ceil(trials * share / fewest)
        if settings > TRIALS:
            raise BadInput(
                f"tune.trials under per_axis must give every cell at most {TRIALS:,}: got {trials:,}, which is "
                f"{settings:,} for {cell.name} with {share} axes where others have {fewest}; lower it"
            )
        if (size := sampler_named(study.tune.sampler).size(cell)) is not None:
            settings = min(settings, 1 + size)
        searched = cell.axes or cell.protocol == 1
        found[cell.name] = settings if searched else min(trials, 1 + bool(cell.published))
    return found


def steps(study: Study, settings: int) -> dict[Step, int]:
    """Trials of a cell that tries so many settings."""
    rescored = min(study.tune.rescore, settings)
    again = rescored * study.tune.rescore_seeds if rescored > 1 else 0
    return {"tune": settings, "rescore": again, "evaluate": study.evaluate.seeds}


@dataclass(frozen=True)
class Need:
    """Trials and epochs that a cell needs at most."""

    trials: int
    epochs: int


def need(study: Study, cell: Cell, settings: int) -> Need:
    """What a cell needs that tries so many settings; epochs of all models that a trial trains."""
    of = steps(study, settings)
    return Need(sum(of.values()), cell.recipe.trainings * trained(study, cell, of))


def trained(study: Study, cell: Cell, of: Mapping[Step, int], repeats: Collection[int] = ()) -> int:
    """The most epochs that so many trials of a cell train; halving stops a part of those that search.

    `repeats` are numbers of the search that are not among them, since they repeat others: populations go by number.
    """
    epochs = int(cell.fixed.get("train.epochs", LOOP.epochs))
    stopping = limits(study.tune, cell) if study.tune.scheduler == HALVING else None
    searched = of["tune"] * epochs
    if stopping is not None:
        whole, rest = divmod(of["tune"] + len(repeats), stopping.population)
        fewer = Counter(number // stopping.population for number in repeats)
        members = [stopping.population - fewer[population] for population in range(whole)]
        halved = sum(most(stopping.rungs, epochs, stopping.reduction, trials) for trials in members)
        searched = halved + (rest - fewer[whole]) * epochs
    return searched + (of["rescore"] + of["evaluate"]) * epochs


def check_reach(study: Study, cells: Sequence[Cell]) -> None:
    """Raises BadInput for a budget that does not reach for a single cell."""
    for name, cost in (("trials", study.budget.trials), ("epochs", study.budget.epochs)):
        if cost is None:
            continue
        needs = {cell.name: getattr(each, name) for cell, each in zip(cells, needed(study, cells), strict=True)}
        least = min(needs, key=needs.__getitem__)
        if cost < needs[least]:
            raise BadInput(
                f"budget.{name} must reach for one cell: got {cost:,}, and the smallest, {least}, needs "
                f"{needs[least]:,}; raise it, or lower tune.trials, tune.rescore or evaluate.seeds"
            )


def needed(study: Study, cells: Sequence[Cell]) -> list[Need]:
    """What every cell needs at most."""
    of = tries(study, cells)
    return [need(study, cell, of[cell.name]) for cell in cells]


def told(study: Study, cells: Sequence[Cell], device_hours: float | None) -> list[str]:
    """What a budget reaches for, in words, with the device hours of the whole study where they are known."""
    needs, budget = needed(study, cells), study.budget
    trials, epochs = sum(one.trials for one in needs), sum(one.epochs for one in needs)
    lines = []
    for name, cost, total in (("trials", budget.trials, trials), ("epochs", budget.epochs, epochs)):
        if cost is not None:
            lines.append(f"{cost:,} of at most {total:,} {name}")
    foreseen = "" if device_hours is None else f", of about {device_hours:.3g} for all"
    if budget.device_hours is not None:
        lines.append(f"{budget.device_hours:g} device hours{foreseen}")
    if budget.money is not None:
        lines.append(f"{budget.money:g} in money, {budget.hours_of_money:.3g} device hours{foreseen}")
    if not lines:
        return []
    return [f"budget: {'; '.join(lines)}; cells are completed one after another, in the order below"]
