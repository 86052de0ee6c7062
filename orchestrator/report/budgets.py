"""What a study spends on every recipe: planned trials and epochs, and what its trials used so far."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum

from orchestrator.study.allowance import PER_AXIS
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.planner import Planner
from orchestrator.study.samplers import sampler_named
from orchestrator.study.spec import Study
from workloads.published import first_settings


@dataclass(frozen=True)
class Spent:
    """Trials in the ledger, the epochs that they ran, and their seconds by the clock, on whatever devices they had."""

    trials: int
    epochs: int
    device_s: float


def budget(study: Study, planner: Planner, plans: Sequence[CellPlan]) -> str:
    """What every recipe may use and has used, in trials and epochs."""
    groups = by_recipe(plans).values()
    used = [spent(group) for group in groups]
    trials = between(sum(planner.planned(plan) for plan in group) for group in groups)
    epochs = between(trial.epochs for plan in plans for trial in plan.trials["tune"])
    return (
        f"Budget of every recipe: {steps(study, planner, plans)}: {trials} trials of {epochs} epochs. Used: "
        f"{between(s.trials for s in used)} trials, {between(s.epochs for s in used)} epochs. Early stopping "
        f"{study.tune.scheduler}."
    )


def luck(study: Study) -> str:
    """Whether the luck of tuning is in the intervals."""
    if study.tune.replicates > 1:
        return f"Tuned {study.tune.replicates} times with other seeds: intervals are over replicates and cover tuning."
    each = ", each trial with a seed of its own" if study.protocol == 1 else ""
    return f"Tuned once{each}: the luck of tuning is in no interval."


def by_recipe(plans: Iterable[CellPlan]) -> dict[tuple[str, str], list[CellPlan]]:
    """The replicates of every recipe, by workload and row: what one row of a table is made of."""
    found: dict[tuple[str, str], list[CellPlan]] = {}
    for plan in plans:
        found.setdefault((plan.cell.workload, plan.row), []).append(plan)
    return found


def spent(plans: Sequence[CellPlan]) -> Spent:
    """What the trials of some cells used, failed and stopped ones too; epochs of all models that a trial trains."""
    records = [(plan, record) for plan in plans for phase in ("tune", "evaluate") for record in plan.records(phase)]
    epochs = sum(plan.cell.recipe.trainings * record.epochs_run for plan, record in records)
    return Spent(len(records), epochs, fsum(record.wall_s for _, record in records))


def steps(study: Study, planner: Planner, plans: Sequence[CellPlan]) -> str:
    """`4 settings (1 published + 3 random), the best 3 again with 2 seeds each, 5 seeds of the selected one`."""
    tune, budget = study.tune, planner.budget
    searched = any(plan.cell.axes for plan in plans)
    tries = between(planner.tries(plan.cell) for plan in plans if plan.cell.axes or not searched)
    source = (
        "in proportion to what is searched"
        if tune.budget == PER_AXIS
        else _search(study, plans, max(planner.tries(plan.cell) for plan in plans))
    )
    tried = f"{tries} setting{'' if tries == '1' else 's'} ({source})"
    settings = tried if searched else "1 setting, nothing to search"
    seeds = f"{budget['evaluate']} seeds of the selected one"
    rescored = f"the best {min(tune.rescore, tune.trials)} again with {tune.rescore_seeds} seeds each"
    words = [settings, *([rescored] if budget["rescore"] and searched else []), seeds]
    repeated = f"; all that in {tune.replicates} replicates" if tune.replicates > 1 else ""
    return f"{', '.join(words)}{repeated}"


def _search(study: Study, plans: Sequence[CellPlan], trials: int) -> str:
    """Where the settings come from: `1 published + 3 random`, `1 default + 7 random + 8 by TPE`."""
    sampler = sampler_named(study.tune.sampler)
    published = any(first_settings(plan.cell.workload, plan.cell.recipe) for plan in plans)
    before = sampler.random(trials, study.protocol) - 1
    words = [f"1 {'published' if published else 'default'}", f"{before} {sampler.unshaped}"]
    words.append(f"{trials - 1 - before} {sampler.words}")
    return " + ".join(word for word in words if not word.startswith("0 "))


def between(values: Iterable[float]) -> str:
    """`300`, or `300 to 330` where recipes differ; whole numbers."""
    rounded = sorted({round(value) for value in values})
    return f"{rounded[0]:,}" if len(rounded) == 1 else f"{rounded[0]:,} to {rounded[-1]:,}"


def costs(plans: Sequence[CellPlan]) -> str:
    """`300 device seconds in all, 31 to 74 a recipe`; empty before a trial has ended.

    It stands beside the tables and not in table.md: seconds differ where a study was interrupted, its numbers do not.
    """
    used = [spent(group).device_s for group in by_recipe(plans).values()]
    return f"{fsum(used):,.0f} device seconds, of a recipe {between(used)}." if any(used) else ""
