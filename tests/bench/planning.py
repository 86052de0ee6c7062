"""What a study of many trials costs before, while and after it trains: `plan`, `status`, `report` and the flat table.

The ledger is made up: settings are drawn here, not by a sampler, and scores and curves are those of a few records over
and over. What reads it is the project's own, each command in a process of its own.
"""

import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from orchestrator.ledger import predictions
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.names import predictions_key, validation_key
from orchestrator.ledger.parquet import to_parquet
from orchestrator.ledger.records import PREDICTIONS, SCHEMAS, Phase, Record, ScoreRow, now
from orchestrator.study.cells import Cell, Trial, data_root, expand, load_data
from orchestrator.study.planner import Planner
from orchestrator.study.space import Observation, acts, first_setting
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.hparams import Choice, Int, Value

WORKLOADS_OF_IT: Final = 5
REPLICATES: Final = 20
ROWS: Final = 300
EPOCHS: Final = 30
SOME: Final = 50
"""Records whose scores and curves the others share."""
SEGMENT: Final = 20_000


def study_of(folder: Path, cells: int) -> Study:
    """A study of so many cells with 20 trials each: 5 tables x recipes x 20 replicates."""
    recipes = ["l1", "mse", "huber", "l1 + lds", "l1 + fds", "l1 + ranksim", "mse + lds", "mse + fds", "huber + lds"]
    recipes += [
        f"{a} + {b} + {c}" for a in ("l1", "mse", "huber") for b in ("sqinv", "inv") for c in ("fds", "ranksim")
    ]
    recipes += [
        f"{a} + lds + {b}" for a in ("l1", "mse", "huber", "quantile") for b in ("fds", "ranksim", "gar", "cmixup")
    ]
    recipes += [
        f"quantile + {b}" for b in ("lds", "fds", "ranksim", "gar", "sqinv", "inv", "cmixup", "smoter", "smogn")
    ]
    recipes += [f"focal_l1 + {b}" for b in ("lds", "fds", "ranksim", "gar")]
    each = WORKLOADS_OF_IT * REPLICATES
    return Study.of(
        {
            "study": "many",
            "workloads": [_table(folder, f"table-{n}") for n in range(WORKLOADS_OF_IT)],
            "recipes": {"also": recipes[: max(1, cells // each)]},
            "tune": {"trials": 12, "rescore": 2, "rescore_seeds": 2, "replicates": REPLICATES},
            "evaluate": {"seeds": 4},
            "train": {"epochs": EPOCHS},
            "storage": str(folder / "storage"),
            "tracking": {"enabled": False},
        }
    )


def _table(folder: Path, name: str) -> dict[str, Any]:
    rng = np.random.default_rng(len(name))
    y = np.round(3.0 + rng.gamma(2.0, 2.0, 5 * ROWS), 2)
    file = folder / f"{name}.csv"
    lines = (f"{a},{a + b:.3f}" for a, b in zip(y, rng.normal(size=len(y)), strict=True))
    file.write_text("\n".join(["k,a", *lines]) + "\n")
    return {"name": name, "type": "table", "file": str(file), "target": "k", "bin_width": 1.0, "many": 40, "few": 15}


def _drawn(cell: Cell, sampler: str, rule: Any, number: int, history: Sequence[Observation]) -> dict[str, Value]:
    """In the place of a sampler, which would take hours: uniform draws of what acts."""
    if number == 0:
        return first_setting(cell)
    draw, values = random.Random(f"{cell.name} {number}"), dict[str, Value]()
    for axis in cell.axes:
        if acts(cell, axis, values):
            limits = axis.range
            if isinstance(limits, Choice):
                values[axis.name] = draw.choice(limits.options)
            elif isinstance(limits, Int):
                values[axis.name] = draw.randrange(limits.low, limits.high + 1, limits.step)
            else:
                values[axis.name] = draw.uniform(limits.low, limits.high)
    return values


def _outcome(trial: Trial, predicted: str | None) -> Record:
    """A record without what the others share."""
    draw = random.Random(trial.id)
    scores = tuple(
        ScoreRow(m, r, 1.0 + draw.random(), 50) for m in ("mae", "rmse") for r in ("all", "many", "medium", "few")
    )
    return Record(
        trial_id=trial.id,
        study="many",
        workload=trial.cell.workload,
        data=trial.cell.data,
        recipe=str(trial.cell.recipe),
        settings=trial.settings,
        seed=trial.seed,
        number=trial.number,
        status="completed",
        epochs=EPOCHS,
        epochs_run=EPOCHS,
        kept_epoch=EPOCHS - 1,
        val=scores,
        test=scores if trial.phase == "evaluate" else None,
        wall_s=1.0,
        device="cpu",
        host="bench",
        versions={"torch": "2"},
        started=now(),
        finished=now(),
        search=trial.search,
        predictions=predicted,
    )


def fill(study: Study) -> int:
    """Write a whole ledger in segments, with the predictions of its evaluated trials; returns the number of records."""
    ledger, rng = Ledger(study.storage), np.random.default_rng(0)
    cells = expand(study)
    records: dict[Phase, list[Record]] = {"tune": [], "evaluate": []}
    named = {
        name: _predictions(load_data(WORKLOADS[name], data_root(study), study.storage), rng) for name in study.names
    }
    with patch("orchestrator.study.planner.suggest", _drawn):
        planner = Planner(study, cells, lambda trial_id, phase: None)
        while (trial := planner.next()) is not None:
            name = None
            if trial.phase == "evaluate":
                name, test, val = named[trial.cell.workload][int(trial.id, 16) % SOME]
                for key, data in ((predictions_key(trial.id, name), test), (validation_key(trial.id, name), val)):
                    path = Path(study.storage) / key
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
            made = _outcome(trial, name)
            records[trial.phase].append(made)
            planner.finish(trial, made)
    for phase, found in records.items():
        found.sort(key=lambda one: (one.workload, one.recipe, one.number, one.trial_id))
        for first in range(0, len(found), SEGMENT):
            ledger.segments(phase).append(_as_table(found[first : first + SEGMENT], phase))
            ledger.segments(phase).refresh()
    return sum(map(len, records.values()))


def _as_table(records: Sequence[Record], phase: Phase) -> pa.Table:
    """Records as one table; curves are those of the first few."""
    parts = [record.to_arrow(phase) for record in records]
    table = pa.concat_tables(parts)
    points = records[0].val
    curve = [
        {
            "epoch": e,
            "stage": 0,
            "loss": random.random(),
            "val": [vars(row) | {"value": random.random()} for row in points],
        }
        for e in range(EPOCHS)
    ]
    place = SCHEMAS[phase].get_field_index("curve")
    few = pa.array([curve] * min(SOME, len(records)), SCHEMAS[phase].field("curve").type)
    curves = pa.concat_arrays([few] * (len(records) // len(few) + 1)).slice(0, len(records))
    return table.set_column(place, SCHEMAS[phase].field("curve"), curves)


def _predictions(data: Any, rng: Any) -> list[tuple[str, bytes, bytes]]:
    """Names and bytes of some predictions of test and validation rows."""
    made = []
    for _ in range(SOME):
        tables = []
        for split in (data.test, data.val):
            y = split.y.numpy().astype(np.float64)
            pred = y + rng.normal(size=len(y))
            tables.append(pa.table([pa.array(range(len(y)), pa.int64()), y, pred], schema=PREDICTIONS))
        made.append((f"0.{predictions.digest_of(tables[0])}", *(to_parquet(table) for table in tables)))
    return made


COMMAND: Final = """
from orchestrator.cli.main import main
began = 0.0  # imports are a part of it
code = main(sys.argv[1:])
"""
TABLE: Final = """
from orchestrator.ledger.ledger import Ledger
ledger, began = Ledger(sys.argv[1]), time.process_time()
code = int(len(ledger.table()) == 0)
"""
MEASURED: Final = """
import re, sys, time
from pathlib import Path
{}
seconds = time.process_time() - began
# Not getrusage: there a process starts with the peak of the one that made it.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print("measured", code, seconds, int(peak[1]) / 1e6)
"""


def measured(what: str, *args: str) -> tuple[float, float]:
    """Seconds of the processor and gigabytes that a program takes in a process of its own."""
    code = MEASURED.format(what)
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    found = re.search(r"measured (\d+) ([\d.]+) ([\d.]+)", done.stdout)
    assert found is not None and found[1] == "0", done.stderr[-2000:]
    return float(found[2]), float(found[3])


def many_trials(cells: int = 5_000) -> list[tuple[str, str]]:
    """Plan, status, report and table of a ledger of 20 records a cell, with their bounds."""
    shown = []
    with tempfile.TemporaryDirectory() as folder:
        study = study_of(Path(folder), cells)
        records = fill(study)
        file = Path(folder) / "many.json"
        file.write_text(study.model_dump_json())
        for name, what, args, limit, most in (
            ("plan", COMMAND, ("plan", str(file)), 10, 1.5),
            ("status", COMMAND, ("status", str(file)), 8, 1.5),
            ("report, the tables", COMMAND, ("report", str(file), "--format", "md"), 60, 1.5),
            ("report, with page and figures", COMMAND, ("report", str(file)), 60, 1.5),
            ("Ledger.table", TABLE, (study.storage,), 5, 1.0),
        ):
            seconds, gigabytes = measured(what, *args)
            shown.append(
                (
                    f"{name}, {records:,} records in {cells:,} cells",
                    f"{seconds:.1f} s of {limit}; {gigabytes:.2f} GB of {most:g}",
                )
            )
    return shown


if __name__ == "__main__":
    for name, value in many_trials(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000):
        sys.stdout.write(f"{name:46} {value}\n")
