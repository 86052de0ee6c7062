"""What people see first in MLflow: a description of the study, short columns of its rows, a view that sorts them."""

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from workloads.metrics import HIGHER_IS_BETTER

DESCRIPTION: Final = 4900
"""Most characters of a tag of an experiment are 5,000."""
REST: Final = "\n…\n\nThe rest is in table.md of the run *tables and report*.\n"
VIEW: Final = "mlflow.sharedViewState."
"""Behind it stands a name that addresses call `viewStateShareKey`."""
ROWS: Final = "cell"
"""How the kind of all runs begins that are rows of a table."""
SETTINGS: Final = 6
"""Columns of settings that the view shows."""


@dataclass(frozen=True)
class Shown:
    """A row of the table of a workload: its metrics by name, those of the primary column under short names as well."""

    workload: str
    recipe: str
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Seen:
    """What the view of a workload sorts and shows: the primary column by its short name, and whether less is better."""

    workload: str
    column: str
    ascending: bool


def rows_of(tidy: Sequence[Mapping[str, Any]]) -> tuple[list[Shown], list[Seen]]:
    """Rows of all tables from the study's tidy data, and the primary column of every workload."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    primary: dict[str, tuple[str, str]] = {}
    for cell in tidy:
        if cell["primary"]:
            primary.setdefault(cell["workload"], (cell["metric"], cell["region"]))
    for cell in tidy:
        metrics = found.setdefault((cell["workload"], cell["recipe"]), {})
        column = (cell["metric"], cell["region"])
        metrics |= _named(f"test/{column[0]}/{column[1]}/", cell, "mean", "sd", "change", "low", "high", "p")
        if primary.get(cell["workload"]) == column:
            short = _short(*column)
            metrics |= _named("", cell, "change", "low", "high", "p", "seeds")
            metrics |= {short: float(cell["mean"]), **_named(f"{short} ", cell, "sd")}
    seen = [Seen(name, _short(*column), column[0] not in HIGHER_IS_BETTER) for name, column in primary.items()]
    return [Shown(*key, metrics) for key, metrics in found.items()], seen


def _short(metric: str, region: str) -> str:
    return f"{region} {metric}"


def _named(prefix: str, cell: Mapping[str, Any], *names: str) -> dict[str, float]:
    return {f"{prefix}{name}": float(cell[name]) for name in names if cell.get(name) is not None}


def description(table: str) -> str:
    """The verdict and the tables, as far as there is room: whole lines of `table.md` below its first headings.

    MLflow shows the first lines only, until somebody opens the rest.
    """
    while table.startswith(("#", "\n")):
        table = table.partition("\n")[2]
    if len(table) <= DESCRIPTION:
        return table
    kept: list[str] = []
    room = DESCRIPTION - len(REST)
    for line in table.splitlines(keepends=True):
        room -= len(line)
        if room < 0:
            break
        kept.append(line)
    return "".join(kept) + REST


def views(seen: Sequence[Seen], settings: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, str]]:
    """Name and state of the view of every workload; `settings` are the searched hyperparameters of each."""
    for one in seen:
        shown = [one.column, f"{one.column} sd", "change", "low", "high", "p", "seeds"]
        columns = [f"metrics.`{name}`" for name in shown]
        columns += [f"params.`{name}`" for name in list(settings.get(one.workload, ()))[:SETTINGS]]
        state = {
            "searchFilter": f"tags.`tailsweep.kind` LIKE '{ROWS}%' AND tags.workload = '{one.workload}'",
            "orderByKey": f"metrics.`{one.column}`",
            "orderByAsc": one.ascending,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "modelVersionFilter": "All Runs",
            "datasetsFilter": [],
            "selectedColumns": ["attributes.`Run Name`", *columns],
            "runsExpanded": {},
            "runsPinned": [],
            "runsHidden": [],
            "viewMaximized": True,
        }
        packed = zlib.compress(json.dumps(state, sort_keys=True).encode(), 9)
        yield f"tailsweep-{one.workload}", f"deflate;{base64.b64encode(packed).decode()}"
