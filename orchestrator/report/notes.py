"""What stands under a table: how it came about, how to read it, and what to be careful with."""

from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.ledger.records import Record
from orchestrator.report.budgets import budget, luck
from orchestrator.report.formats import NOTHING, SIGNS, named, title
from orchestrator.report.row_scores import PERCENT
from orchestrator.report.scores import completed
from orchestrator.report.sources import Rows
from orchestrator.report.tables import TITLES, Table
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.held_out import told
from workloads.labels import REGIONS
from workloads.recipe import Recipe
from workloads.workload import Data, Workload, groups_of


def notes(
    rows: Rows, table: Table, data: Data, workload: Workload, unread: Mapping[str, str], unvalidated: Mapping[str, str]
) -> list[str]:
    """What stands under a table: data, budget, selection rule, protocol, marks, device, and what to be careful with.

    `unread` has the recipes whose predictions are missing for some seeds, with how many; `unvalidated` those whose
    predictions of validation rows are, of which controls are made.
    """
    devices = sorted({r.device for plan in rows.plans for r in _records(plan) if r.device})
    per_region = ", ".join(f"{region} {n}" for region, n in table.counts.items() if n)
    return [
        f"{workload.title}{f' ({workload.unit})' if workload.unit else ''}; {workload.origin.source}. Test "
        f"{_counted(table)}: {per_region}. Regions: {workload.shots}.",
        *told(workload, data),
        *_empty(table),
        *_not_compared(table),
        *_protocols(rows),
        f"Mean ± sd over {_units(rows.sources[0].study)}. Bold: what cannot be told from the best of its column (Holm, "
        "5 %); nothing is bold with one of them, or where a metric is no mean over rows. Trained on "
        f"{', '.join(devices) or NOTHING}.",
        *_cautions(rows, table),
        *_unread(unread),
        *_unvalidated(unvalidated),
        *_of_controls(table),
        *_of_adjustments([plan.cell.recipe for plan in rows.plans]),
        *dict.fromkeys(f"{plan.row}: {warning}" for plan in rows.plans for warning in _warnings(plan)),
    ]


def _records(plan: CellPlan) -> list[Record]:
    return [*plan.records("tune"), *plan.records("evaluate")]


def _protocols(rows: Rows) -> list[str]:
    """Budget and selection rule of every study, by name where there are several."""
    sources = list({id(source): source for source in rows.sources}.values())
    found = []
    for source in sources:
        name = f"Study {source.study.study}. " if len(sources) > 1 else ""
        found += [f"{name}{line}" for line in _protocol(source.study, source.planner, rows.of(source))]
    return found


def _protocol(study: Study, planner: Planner, plans: Sequence[CellPlan]) -> list[str]:
    return [
        budget(study, planner, plans),
        f"Selected by {study.tune.select_by}, the epoch within a trial as well; test was read in the evaluate phase "
        f"only. {luck(study)}",
    ]


def _units(study: Study) -> str:
    """Over what means are taken."""
    many = study.tune.replicates > 1
    return f"replicates, each the mean of {study.evaluate.seeds} seeds" if many else "seeds"


def partial(rows: Rows) -> str:
    """Which recipes have fewer seeds than planned, for a study that goes on, failed or was cut off; else nothing."""
    planned: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for plan, source in rows:
        planned[plan.row] += source.planner.budget["evaluate"]
        done[plan.row] += len(completed(plan))
    short = [f"`{row}` {done[row]} of {count}" for row, count in planned.items() if done[row] < count]
    return f"Partial: {len(short)} of {len(planned)} recipes lack seeds: {named(short)}." if short else ""


def _cautions(rows: Rows, table: Table) -> list[str]:
    """What a reader may not take for granted: each is told, and none of them keeps the rest from being shown."""
    found = []
    ours = table.recipes
    single = [row.recipe for row in ours if row.seeds == 1]
    if single:
        found.append(f"One seed says nothing of the error: no interval, p or mark for {named(single)}.")
    seeds = sorted({row.seeds for row in ours if row.seeds})
    if len(seeds) > 1:
        found.append(f"Recipes have {seeds[0]} to {seeds[-1]} seeds; a comparison takes those that both have.")
    tuned = sorted({len(tried) for plan in rows.plans if (tried := plan.searched)})
    if len(tuned) > 1:
        found.append(f"Unequal budgets: recipes were tuned with {tuned[0]} to {tuned[-1]} trials.")
    if any(row.scores for row in ours) and not any(table.primary in row.scores for row in ours):
        found.append(f"The primary column {title(table.primary)} has no scores: this study decides nothing.")
    return found


def _unread(unread: Mapping[str, str]) -> list[str]:
    """What is left out for want of predictions that can be read."""
    if not unread:
        return []
    return [
        f"Predictions cannot be read of {_seeds(unread)}: what is made of them (intervals, Natural, recalibrated "
        "controls, figures) is without these seeds; `tailsweep ledger verify` names the files."
    ]


def _unvalidated(unvalidated: Mapping[str, str]) -> list[str]:
    """Which controls are left out for want of predictions of validation rows."""
    if not unvalidated:
        return []
    return [
        f"Predictions of validation rows cannot be read of {_seeds(unvalidated)}: controls that are recalibrated on "
        "validation are without these seeds; `tailsweep ledger verify` names damaged files, and ledgers of earlier "
        "releases have none."
    ]


def _seeds(of: Mapping[str, str]) -> str:
    return named([f"`{row}` ({seeds} seeds)" for row, seeds in of.items()])


def _of_controls(table: Table) -> list[str]:
    """What the controls are."""
    if table.control is None:
        return []
    return [
        "Controls need no training budget; without seeds of their own they have no deviation. 'on validation': fitted "
        "to labels of validation rows, which recipes use for selection only. 'out of fold': fitted to training rows "
        "that the model has not seen, weighted as held-out labels are distributed."
    ]


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


def _not_compared(table: Table) -> list[str]:
    """Recipes without a base in the table."""
    names = {row.recipe for row in table.recipes}
    lonely = {row.recipe: row.base for row in table.recipes if row.base not in names}
    if not lonely:
        return []
    bases = " and ".join(dict.fromkeys(lonely.values()))
    return [f"Not compared, since {bases} without methods is not in the study: {', '.join(lonely)}."]


def _counted(table: Table) -> str:
    return "pixels" if WORKLOADS[table.workload].dense else "rows"


def _empty(table: Table) -> list[str]:
    """Regions that have a column and no rows."""
    regions = dict.fromkeys(region for _, region in table.columns if region in REGIONS)
    empty = [region for region in regions if not table.counts.get(region)]
    return [f"No test {_counted(table)}: {', '.join(empty)}."] if empty and table.counts else []


def _warnings(plan: CellPlan) -> list[str]:
    """What training warned of in the trials of a row: a method that changed nothing, for example."""
    lines = [line for r in plan.records("evaluate") if r.status == "completed" for line in (r.log or "").splitlines()]
    return list(dict.fromkeys(lines))


def change_heading(metric: str) -> str:
    name = f"{TITLES.get(metric, metric).removesuffix(' %')}" + (", in percentage points," if metric in PERCENT else "")
    return f"Change of the test {name}"


def explained(table: Table, data: Data, replicated: bool) -> list[str]:
    """How to read the tables of changes; `replicated` is whether tuning was repeated."""
    tested = [made for made in table.comparisons.values() if made.estimate is not None]
    seeds = "replicates" if replicated else "seeds"
    units = "images" if WORKLOADS[table.workload].dense else "groups" if groups_of(data) is not None else "rows"
    return [
        f"Mean difference [95 % interval] over paired {seeds} and test {units} (Behrens-Fisher: {seeds} by t, {units} "
        f"by the normal distribution); of GM the ratio. Tuning is {'' if replicated else 'not '}in the interval.",
        f"Marks: `*` holds among the {sum(made.primary for made in tested)} comparisons of {title(table.primary)}, "
        f"`**` among all {len(tested)} of the table (Holm, 5 %). {SIGNS['better']} better, {SIGNS['worse']} worse, "
        f"{SIGNS['equivalent']} equivalent: the 90 % interval lies within {100 * table.margin:.3g} % of the base's "
        "score; no sign: undecided.",
    ]
