"""A first study from a look at a table: bins, shot regions, groups, columns to leave out, and a budget for an hour."""

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from orchestrator.errors import BadInput
from orchestrator.study.cells import expand
from orchestrator.study.spec import Study
from workloads.data.custom import rows
from workloads.data.custom.arrow import readable
from workloads.data.custom.columns import Column
from workloads.data.custom.notes import Notes
from workloads.data.custom.schema import CustomTable
from workloads.data.custom.tables import OPENERS, read_table
from workloads.labels import REGIONS, Floats, Ints, Shots
from workloads.messages import brief
from workloads.workload import DataError

BINS: Final = 40
"""About so many bins, of a width that is easy to read."""
LEAKS: Final = 0.995
"""A column whose ranks go with those of the target this closely is likely made of it."""
SHOTS: Final = ((100, 20), (50, 10), (20, 5), (10, 3))
"""Training rows from which a bin has many, and below which it has few: the first pair that fills all three regions."""
IDENTITY: Final = re.compile(
    r"(^|[^a-z])(ids?|uuid|key|index|row|subject|patient|person|participant|user|group|family)$", re.IGNORECASE
)
RECIPES: Final = (
    "l1",
    "mse",
    "l1 + sqinv",
    "l1 + lds",
    "l1 + fds",
    "l1 + lds + fds",
    "l1 + ranksim",
    "l1 + affine_oof",
)
EPOCHS: Final = 30
BATCH: Final = 256
STEP_S: Final = 0.004
"""Seconds of a step on a small network with what methods add, on one core; and what a trial takes besides."""
TRIAL_S: Final = 1.0
SEEDS: Final = 5
RESCORED: Final = 2 * 2


@dataclass(frozen=True)
class Look:
    """What was found in a table: a column of groups, columns to leave out and why, those that look like leaks."""

    file: str
    target: str
    y: Floats
    width: float
    group: str | None
    dropped: Mapping[str, str]
    doubtful: tuple[str, ...]


def look(file: str, target: str) -> Look:
    """Look at a table; raises BadInput for one that cannot be studied."""
    path = Path(file)
    try:
        others = _unreadable(path, target)
        cells, _ = read_table(path, [target], others, others=True)
        columns = {name: Column(path, name, values) for name, values in cells.items()}
        y = columns.pop(target).labels()
    except DataError as err:
        raise BadInput(str(err)) from None
    if not np.ptp(y) > 0:
        raise BadInput(f"{path}: column {brief(target)} must vary to be predicted: all {len(y):,} rows have {y[0]:g}")
    group, dropped, doubtful = None, dict.fromkeys(others, "neither numbers nor words"), []
    for name, column in columns.items():
        try:
            distinct = len(set(column.names()))
            if IDENTITY.search(name) and distinct > 1:
                if group is None and distinct < len(y):
                    group = name
                else:
                    dropped[name] = "tells rows apart, and says nothing of new ones"
                continue
            made = column.inputs(Notes())
        except DataError as err:
            dropped[name] = str(err).partition(": ")[2].partition(";")[0]
            continue
        if len(made) == 1 and _goes_with(made[0][1], y):
            doubtful.append(name)
    return Look(file, target, y, _width(y), group, dropped, tuple(doubtful))


def _unreadable(path: Path, target: str) -> list[str]:
    """Columns of a type that can be no input."""
    try:
        file = OPENERS[path.suffix.lower()](path)
    except Exception:  # whatever is wrong with the file is told when it is read
        return []
    return [name for name, kind in zip(file.names, file.kinds, strict=True) if name != target and not readable(kind)]


def _goes_with(values: Floats, y: Floats) -> bool:
    """Whether the ranks of a column are those of the target, or their reverse."""
    known = ~np.isnan(values)
    if known.sum() < 10 or not np.ptp(values[known]):
        return False
    from scipy.stats import spearmanr

    return bool(abs(spearmanr(values[known], y[known]).statistic) > LEAKS)


def _width(y: Floats) -> float:
    """1, 2 or 5 times a power of ten, for about `BINS` bins over all but the rarest labels; whole for whole labels."""
    span = float(np.quantile(y, 0.995) - np.quantile(y, 0.005)) or float(np.ptp(y))
    power = 10.0 ** math.floor(math.log10(span / BINS))
    width = power * min((1, 2, 5, 10), key=lambda step: abs(math.log(step * power * BINS / span)))
    width = float(f"{width:.6g}")
    return max(1.0, width) if np.array_equal(y, np.rint(y)) and np.ptp(y) >= 2 else width


def first_study(found: Look, name: str, cores: int) -> str:
    """The study as commented YAML; raises BadInput where no such study can be run."""
    shots, counts = _shots(found, name)
    trials, took = _budget(len(found.y), cores)
    text = _text(found, name, shots, counts, trials, took)
    expand(Study.read(text, "the first study", environ={}))  # what `plan` would refuse is told here
    return text


def _declared(found: Look, name: str, shots: tuple[int, int]) -> dict[str, Any]:
    tree: dict[str, Any] = {"name": name, "type": "table", "file": found.file, "target": found.target}
    tree["bin_width"] = found.width
    if found.group is not None:
        tree["group"] = found.group
    return {**tree, "drop": list(found.dropped), "many": shots[0], "few": shots[1]}


def _shots(found: Look, name: str) -> tuple[tuple[int, int], dict[str, int]]:
    """The rule for regions, and the training rows in each; raises BadInput for data that cannot be split."""
    own = CustomTable.model_validate(_declared(found, name, SHOTS[0]))
    try:
        workload = rows.build(own, None)
        data = workload.load(None)
    except DataError as err:
        raise BadInput(str(err)) from None
    counts = workload.bin_counts(data)
    made = [(rule, _regions(counts, Shots(*rule))) for rule in SHOTS]
    return next(((rule, held) for rule, held in made if all(held[r] for r in REGIONS[:3])), made[-1])


def _regions(counts: Ints, rule: Shots) -> dict[str, int]:
    of_bin = rule.of_counts(counts)
    return {region: int(counts[of_bin == at].sum()) for at, region in enumerate(REGIONS)}


def _budget(rows_: int, cores: int) -> tuple[int, float]:
    """Settings that a recipe tries, and the minutes that the study takes then; at most an hour, where four do."""
    trial_s = TRIAL_S + EPOCHS * math.ceil(rows_ / BATCH) * STEP_S
    fits = int(3600.0 * cores / (len(RECIPES) * trial_s))
    trials = max(4, min(16, fits - SEEDS - RESCORED))
    return trials, len(RECIPES) * (trials + SEEDS + RESCORED) * trial_s / cores / 60


def _text(found: Look, name: str, shots: tuple[int, int], counts: Mapping[str, int], trials: int, took: float) -> str:
    low, high = float(found.y.min()), float(found.y.max())
    held = ", ".join(f"{region} {counts[region]:,}" for region in REGIONS[:3])
    own = _declared(found, name, shots)
    notes = {
        "target": f"{len(found.y):,} rows from {low:g} to {high:g}",
        "bin_width": "labels nearer than this count as alike; rare bins are what the study is about",
        "group": "rows of one group never lie in two splits",
        "many": f"training rows by region: {held}",
        "few": "a bin with fewer training rows is few-shot",
    }
    lines = [
        f"# A first study of {found.target}, from a look at {found.file}. `tailsweep plan` says what it will do,",
        "# `tailsweep data check` what the test rows can say. About "
        f"{max(1, round(took))} minutes on this machine, by a rough estimate.",
        f"study: {json.dumps(name)}",
        "workloads:",
    ]
    for number, (key, value) in enumerate(own.items()):
        if key == "drop":
            lines += _dropped(found)
            continue
        note = f"  # {notes[key]}" if key in notes else ""
        lines.append(f"  {'- ' if number == 0 else '  '}{key}: {json.dumps(value, ensure_ascii=False)}{note}")
    lines += [
        "",
        "# Eight recipes: two losses, and what the best-known methods add. All get the same budget.",
        "recipes:",
        f"  also: [{', '.join(RECIPES)}]",
        "",
        f"# Each tries {trials} settings on validation; the best two are trained with two further seeds before one is",
        "# selected, and that one with five seeds, which are scored on test.",
        f"tune: {{trials: {trials}, rescore: 2}}",
        f"evaluate: {{seeds: {SEEDS}}}",
        f"train: {{epochs: {EPOCHS}}}",
        "",
    ]
    return "\n".join(lines)


def _dropped(found: Look) -> list[str]:
    """The columns that are left out, each with the reason; those that may have to be are told."""
    lines = [
        f"    # {column} goes with {found.target} almost perfectly: drop it if it is made of it"
        for column in found.doubtful
    ]
    if not found.dropped:
        return [*lines, "    drop: []"]
    lines.append("    drop:")
    return lines + [f"      - {json.dumps(name, ensure_ascii=False)}  # {why}" for name, why in found.dropped.items()]


def name_of(file: str) -> str:
    """A name of a study and of its data, from that of a file."""
    slug = re.sub(r"[^a-z0-9._-]+", "-", Path(file).stem.lower()).strip("-._")[:60]
    return slug or "study"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
