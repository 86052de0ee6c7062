"""What stands under a table: how it came about, how to read it, and what to be careful with."""

from collections.abc import Sequence

from orchestrator.report.formats import NOTHING, SIGNS, title
from orchestrator.report.row_scores import PERCENT
from orchestrator.report.tables import TITLES, Table
from orchestrator.study.planner import CellPlan, Planner
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.held_out import told
from workloads.labels import REGIONS
from workloads.recipe import Recipe
from workloads.workload import Data, groups_of


def notes(study: Study, planner: Planner, table: Table, plans: Sequence[CellPlan], data: Data) -> list[str]:
    """What stands under a table: data, budget, selection rule, protocol, marks, device, and what to be careful with."""
    workload = WORKLOADS[table.workload]
    records = [r for plan in plans for phase in ("tune", "evaluate") for r in plan.records(phase)]
    epochs = sorted({r.epochs for r in records})
    devices = sorted({r.device for r in records if r.device})
    used = [plan.cell.recipe.trainings * sum(r.epochs_run for r in plan.records("tune")) for plan in plans]
    tuned = f"{min(used)}" if min(used) == max(used) else f"{min(used)} to {max(used)}"
    per_region = ", ".join(f"{region} {n}" for region, n in table.counts.items() if n)
    return [
        f"{workload.title}{f' ({workload.unit})' if workload.unit else ''}; {workload.origin.source}. Test "
        f"{_counted(table)}: {per_region}. Regions: {workload.shots}.",
        *told(workload, data),
        *_empty(table),
        *_not_compared(table),
        f"Budget of every recipe: {planner.budget['tune']} tuning trials ({tuned} epochs used) of "
        f"{' or '.join(map(str, epochs)) or NOTHING} epochs, then {planner.budget['evaluate']} seeds of the selected "
        f"setting (tuned once). Sampler {study.tune.sampler}, early stopping {study.tune.scheduler}.",
        f"Selected by {study.tune.select_by}, the epoch within a trial as well; test was read in the evaluate phase "
        "only.",
        "Mean ± sd over seeds. Bold: what cannot be told from the best of its column (Holm, 5 %); nothing is bold with "
        f"one seed, or where a metric is no mean over rows. Trained on {', '.join(devices) or NOTHING}.",
        *_of_controls(table),
        *_of_adjustments([plan.cell.recipe for plan in plans]),
        *(f"{plan.cell.recipe}: {warning}" for plan in plans for warning in _warnings(plan)),
    ]


def _of_controls(table: Table) -> list[str]:
    """What the controls are."""
    if table.control is None:
        return []
    return [
        "Controls need no training budget; without seeds of their own they have no deviation. 'on validation': fitted "
        "to labels of validation rows, which recipes use for selection only. 'out of fold': fitted to training rows "
        "that the model has not seen, weighted as held-out labels are distributed."
    ]


def _not_compared(table: Table) -> list[str]:
    """Recipes without a base in the table."""
    names = {row.recipe for row in table.recipes}
    lonely = [row.recipe for row in table.recipes if str(Recipe(Recipe.parse(row.recipe).objective)) not in names]
    if not lonely:
        return []
    bases = dict.fromkeys(str(Recipe(Recipe.parse(recipe).objective)) for recipe in lonely)
    return [f"Not compared, since {' and '.join(bases)} without methods is not in the study: {', '.join(lonely)}."]


def _counted(table: Table) -> str:
    return "pixels" if WORKLOADS[table.workload].dense else "rows"


def _empty(table: Table) -> list[str]:
    """Regions that have a column and no rows."""
    regions = dict.fromkeys(region for _, region in table.columns if region in REGIONS)
    empty = [region for region in regions if not table.counts.get(region)]
    return [f"No test {_counted(table)}: {', '.join(empty)}."] if empty and table.counts else []


def _of_adjustments(recipes: Sequence[Recipe]) -> list[str]:
    """What recipes that act after training are fitted to, and what their epochs cost."""
    trainings = {recipe.adjustment: recipe.trainings for recipe in recipes if recipe.adjustment}
    return [
        f"`{name}` is fitted to labels of validation rows, which other recipes use for selection only; each of them is "
        "scored by what was fitted to others."
        if times == 1
        else f"`{name}` is fitted to training rows by what models say that have not seen them, weighted as held-out "
        f"labels are distributed. Its epochs pass {times} times over the training rows, and count as {times}."
        for name, times in trainings.items()
    ]


def _warnings(plan: CellPlan) -> list[str]:
    """What training warned of in the trials of a row: a method that changed nothing, for example."""
    lines = [line for r in plan.records("evaluate") if r.status == "completed" for line in (r.log or "").splitlines()]
    return list(dict.fromkeys(lines))


def change_heading(metric: str) -> str:
    name = f"{TITLES.get(metric, metric).removesuffix(' %')}" + (", in percentage points," if metric in PERCENT else "")
    return f"Change of the test {name}"


def explained(table: Table, data: Data) -> list[str]:
    """How to read the tables of changes."""
    tested = [made for made in table.comparisons.values() if made.estimate is not None]
    units = "images" if WORKLOADS[table.workload].dense else "groups" if groups_of(data) is not None else "rows"
    return [
        f"Mean difference [95 % interval] over paired seeds and test {units} (Behrens-Fisher: seeds by t, {units} by "
        "the normal distribution); of GM the ratio. Tuning is not in the interval.",
        f"Marks: `*` holds among the {sum(made.primary for made in tested)} comparisons of {title(table.primary)}, "
        f"`**` among all {len(tested)} of the table (Holm, 5 %). {SIGNS['better']} better, {SIGNS['worse']} worse, "
        f"{SIGNS['equivalent']} equivalent: the 90 % interval lies within {100 * table.margin:.3g} % of the base's "
        "score; no sign: undecided.",
    ]
