"""How long an epoch of a recipe takes: as trials in the ledger took, or as a probe did."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.names import PHASES

Source: TypeAlias = Literal["ledger", "probe", "similar", ""]
"""Whence: trials in the ledger, of this study or another; a probe; other recipes of the workload; nothing known."""
COLUMNS: Final = ["workload", "recipe", "epochs_run", "wall_s"]


@dataclass(frozen=True)
class Pace:
    """Seconds of an epoch, with what a trial takes beside its epochs shared out among them."""

    seconds: float | None = None
    source: Source = ""


Paces: TypeAlias = Mapping[tuple[str, str], Pace]
"""By workload and recipe."""


def measured(ledger: Ledger) -> dict[tuple[str, str], Pace]:
    """The mean over all epochs that trials of any study of the storage ran."""
    tables = [ledger.read(phase, COLUMNS) for phase in PHASES]
    table = pa.concat_tables(tables).filter(pc.field("epochs_run") > 0)
    sums = table.group_by(["workload", "recipe"]).aggregate([("epochs_run", "sum"), ("wall_s", "sum")])
    return {
        (row["workload"], row["recipe"]): Pace(row["wall_s_sum"] / row["epochs_run_sum"], "ledger")
        for row in sums.to_pylist()
    }


def pace_of(known: Paces, workload: str, recipe: str) -> Pace:
    """That of a recipe, or the mean of the workload's other ones."""
    if (workload, recipe) in known:
        return known[workload, recipe]
    others = [pace.seconds for (name, _), pace in known.items() if name == workload and pace.seconds is not None]
    return Pace(sum(others) / len(others), "similar") if others else Pace()
