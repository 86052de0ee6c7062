"""What a study needs to detect a change of a given size: seeds and test rows, by region and kind of recipe.

Variance components come from the study's own ledger, or from a pilot table of the workload (`pilots/NAME.json`), which
is what `tailsweep plan STUDY --detect 2% --json` printed of a finished study.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Final

from orchestrator.errors import BadInput
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.comparisons import ALPHA, Column
from orchestrator.report.scores import completed, scores
from orchestrator.report.tables import primary_column
from orchestrator.report.variance import Components, typical
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.cells import data_root, load_data
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.held_out import rows_by_region
from workloads.labels import REGIONS
from workloads.methods import METHODS
from workloads.metrics import LOGARITHMIC
from workloads.recipe import Recipe
from workloads.workload import Data, groups_of

RE_WEIGHTED: Final = "re-weighted"
"""Recipes whose rows count by label density: they move many predictions, and differ much from row to row."""
SEVERAL: Final = "several methods"
MORE_SEEDS: Final = (10, 20, 50, 100)
"""With how many seeds more test rows are thought of where those of the study are too few for any number of rows."""


@dataclass(frozen=True)
class Typical:
    """Components of a typical change of one kind of recipe in one column, and the base's score there."""

    metric: str
    region: str
    kind: str
    base: float
    seed: float
    row: float
    rest: float
    seeds: int
    rows: int


@dataclass(frozen=True)
class Need:
    """What a change of `size` needs in one region: alone, and corrected for `among` comparisons.

    `finds` is what the study's seeds find with 80 % power; `seeds` and `seeds_among` those that it needs, None where
    more seeds do not help with these test rows. Then `rows_needed` rows do with `rows_seeds` seeds, both None where no
    number of rows does.
    """

    workload: str
    region: str
    kind: str
    base: float
    size: float
    rows: int
    finds: float
    seeds: int | None
    seeds_among: int | None
    among: int
    rows_needed: int | None
    rows_seeds: int | None


@dataclass(frozen=True)
class Detection:
    """The needs of one workload, and where their components come from."""

    workload: str
    metric: str
    source: str
    components: tuple[Typical, ...]
    needs: tuple[Need, ...]
    unknown: tuple[str, ...] = ()
    """Kinds of recipes of which no variance is known."""


def kind_of(recipe: str) -> str:
    """The kind of a recipe: re-weighted, or its one method (or plan), or several."""
    parsed = Recipe.parse(recipe)
    if any(METHODS[method].slot == "density" for method in parsed.methods):
        return RE_WEIGHTED
    return SEVERAL if len(parsed.methods) > 1 else (*parsed.methods, parsed.plan)[0]


def share_of(text: str) -> float:
    """A share written as `2%` or `0.02`; raises BadInput."""
    number = text.strip().removesuffix("%").strip()
    try:
        value = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise BadInput(f"--detect takes a share of the base's score, above 0 and below 100 %: got {text!r}; such as 2%")
    return value


def detections(study: Study, planner: Planner, ledger: Ledger, share: float) -> list[Detection]:
    """What every workload of a study needs; raises BadInput where nothing is known of its variance."""
    return [_detection(study, planner, ledger, name, share) for name in study.names]


def _detection(study: Study, planner: Planner, ledger: Ledger, name: str, share: float) -> Detection:
    workload = WORKLOADS[name]
    data = load_data(workload, data_root(study), study.storage)
    plans = [plan for plan in planner.plans if plan.cell.workload == name]
    pairs = _pairs(plans)
    if not pairs:
        raise BadInput(f"{name}: --detect compares recipes with their objective alone, and the study has no such pair")
    if groups_of(data) is not None:
        raise BadInput(f"{name}: --detect counts test rows, and those of this workload come in groups: it cannot say")
    metric = primary_column(workload, study.tune.select_by, study.report.primary, {})[0]
    kinds = list(dict.fromkeys(kind_of(ours) for ours, _ in pairs))
    found, source = _measured(study, plans, ledger, data, metric, pairs), "the ledger"
    if not found:
        found, source = _pilot(name, metric, kinds)
    among = len(pairs)
    counts = {"all": len(data.test.y), **rows_by_region(workload, data)}
    units = study.evaluate.seeds if study.tune.replicates == 1 else study.tune.replicates
    needs = [
        _need(name, made, counts[made.region], share, among, units) for made in found if counts.get(made.region, 0) > 1
    ]
    unknown = tuple(kind for kind in kinds if kind not in {made.kind for made in found})
    return Detection(name, metric, source, tuple(found), tuple(needs), unknown)


def _pairs(plans: Sequence[CellPlan]) -> list[tuple[str, str]]:
    """Every recipe with its base, the objective alone."""
    recipes = list(dict.fromkeys(str(plan.cell.recipe) for plan in plans))
    bases = {recipe: str(Recipe(Recipe.parse(recipe).objective)) for recipe in recipes}
    return [(recipe, base) for recipe, base in bases.items() if base in recipes and base != recipe]


def _measured(
    study: Study, plans: Sequence[CellPlan], ledger: Ledger, data: Data, metric: str, pairs: Sequence[tuple[str, str]]
) -> list[Typical]:
    """What the ledger says; empty where no pair has two seeds."""
    if not any(completed(plan) for plan in plans):
        return []
    known = scores(plans, ledger, data)
    found = []
    for region in ("all", *REGIONS):
        column: Column = (metric, region)
        for kind in dict.fromkeys(kind_of(ours) for ours, _ in pairs):
            of_kind = [pair for pair in pairs if kind_of(pair[0]) == kind]
            made = typical(known, column, of_kind)
            if made is None:
                continue
            seeds = known[region].sums[metric][of_kind[0][1]].values()
            total = float(known[region].units.rows.sum()) * len(seeds)
            base = math.fsum(float(sums.sum()) for sums in seeds) / total
            found.append(Typical(metric, region, kind, base, made.seed, made.row, made.rest, made.seeds, made.rows))
    return found


def _pilot(name: str, metric: str, kinds: Sequence[str]) -> tuple[list[Typical], str]:
    """What a pilot study measured on the workload; raises BadInput where there is none."""
    folder = resources.files("orchestrator.report") / "pilots"
    file = folder / f"{name}.json"
    if file.is_file():
        tree = json.loads(file.read_text("utf-8"))
        known = [Typical(**row) for part in tree["detect"] for row in part["components"]]
        found = [made for made in known if made.metric == metric and made.kind in kinds]
        if found:
            return found, f"a pilot study ({tree['study']}, {found[0].seeds} seeds)"
    raise BadInput(
        f"{name}: nothing is known of the variance of {metric}: the ledger has no recipe with its base on two seeds, "
        "and no pilot study is kept of this workload; sweep the study with few seeds first (--seeds 3), then ask again"
    )


def _need(name: str, made: Typical, rows: int, share: float, among: int, seeds: int) -> Need:
    ratio = made.metric in LOGARITHMIC
    size = math.log1p(share) if ratio else share * abs(made.base)
    error = Components(made.seed, made.row, made.rest, max(2, seeds), rows)
    enough = error.seeds_for(size, ALPHA)
    more = [] if enough is not None else [s for s in (error.seeds, *MORE_SEEDS) if s >= error.seeds]
    larger = next(((n, s) for s in more if (n := error.rows_for(size, ALPHA, s)) is not None), (None, None))
    return Need(
        workload=name,
        region=made.region,
        kind=made.kind,
        base=math.exp(made.base) if ratio else made.base,
        size=size,
        rows=rows,
        finds=error.detectable(ALPHA),
        seeds=enough,
        seeds_among=error.seeds_for(size, ALPHA / among),
        among=among,
        rows_needed=larger[0],
        rows_seeds=larger[1],
    )


def tree_of(found: Iterable[Detection]) -> list[Mapping[str, Any]]:
    """Detections for programs, and as a pilot table."""
    return [asdict(each) for each in found]


def lines(found: Detection, share: float) -> list[str]:
    """A table for people, and how to read it."""
    head = ("region", "kind of recipe", "base", "change", "rows", "finds now", "seeds", "seeds among")
    rows = [head, *(_line(need) for need in found.needs)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(head))]
    among = found.needs[0].among if found.needs else 0
    return [
        f"{found.workload}: to detect a change of {100 * share:g} % of the base's {found.metric} with 80 % power; "
        f"variances from {found.source}",
        *(
            "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ),
        f"  finds now: the smallest change that this study finds. seeds: for one comparison at 5 %; among: where all "
        f"{among} of the study are corrected for.",
        *([f"  nothing is known of: {', '.join(found.unknown)}"] if found.unknown else []),
    ]


def _line(need: Need) -> tuple[str, ...]:
    rows = "" if need.rows_needed is None else f" ({need.rows_needed:,} with {need.rows_seeds} seeds)"
    return (
        need.region,
        need.kind,
        f"{need.base:.4g}",
        f"{need.size:.3g}",
        str(need.rows),
        f"{need.finds:.3g}",
        f"not with these test rows{rows}" if need.seeds is None else str(need.seeds),
        "no" if need.seeds_among is None else str(need.seeds_among),
    )
