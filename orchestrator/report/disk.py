"""What a study writes to its disk, from the sizes of what it would write."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch

from orchestrator.ledger.parquet import to_parquet
from orchestrator.ledger.records import PREDICTIONS, SCHEMAS, Phase, canonical, now
from orchestrator.report.controls import has_controls
from workloads.cache import default_folder
from workloads.labels import REGIONS
from workloads.training import LOOP
from workloads.workload import Data, Split, Workload

ROWS: Final = 20_000
"""Of a table of predictions that is written to learn its size; of a larger test set the size is in proportion."""
COPIES: Final = 4
"""Of a model in a checkpoint: weights, the two moments of Adam, and the weights of the best epoch."""


@lru_cache(maxsize=256)
def record_bytes(phase: Phase, scores: int, epochs: int, every: int = 1) -> int:
    """Size of a record with so many scores of each split and epochs, whose numbers do not compress.

    `every` is the number of epochs from one validation to the next.
    """
    rng = np.random.default_rng(0)

    def drawn() -> list[dict[str, Any]]:
        return [
            {"metric": f"m{i % 4}", "region": f"r{i // 4}", "value": rng.random(), "count": 100} for i in range(scores)
        ]

    plain: Mapping[pa.DataType, Any] = {pa.string(): "x" * 20, pa.int64(): 1, pa.float64(): rng.random()}
    row: dict[str, Any] = {field.name: plain.get(field.type) for field in SCHEMAS[phase]}
    row |= {"settings": canonical({f"part.hyperparameter{n}": rng.random() for n in range(10)}), "log": None}
    row |= {"started": now(), "finished": now(), "val": drawn()}
    loop = replace(LOOP, validate_every=every)
    scored = [drawn() if loop.validates(e, ends_stage=e + 1 == epochs) else [] for e in range(epochs)]
    row["curve"] = [{"epoch": e, "stage": 0, "loss": rng.random(), "val": val} for e, val in enumerate(scored)]
    if phase == "evaluate":
        row["test"] = drawn()
    return len(to_parquet(pa.Table.from_pylist([row], schema=SCHEMAS[phase])))


def scores_in(workload: Workload) -> int:
    """Scores of a split: every metric in all rows and in every region."""
    return len(workload.metrics) * (1 + len(REGIONS))


def predictions_bytes(workload: Workload, data: Data) -> int:
    """Size of what an evaluated trial keeps of test rows, and of validation rows where they are recalibrated."""
    return sum(_predictions(split) for split in (data.test, *([data.val] if has_controls(workload) else [])))


def _predictions(split: Split) -> int:
    """Size of a table with the labels of a split; predictions do not compress."""
    y = split.y[:ROWS].numpy().astype(np.float64)
    pred = np.random.default_rng(0).random(len(y))
    table = pa.table([pa.array(range(len(y)), pa.int64()), y, pred], schema=PREDICTIONS)
    return math.ceil(len(to_parquet(table)) * len(split.y) / max(len(y), 1))


def weights_bytes(workload: Workload, data: Data) -> int:
    """Size of the weights of the encoder, by their file where it starts from one; a checkpoint has `COPIES` of it."""
    if data.weights is not None:
        return data.weights.stat().st_size
    with torch.random.fork_rng(devices=[]):
        encoder, _ = workload.encoder(data)
    return sum(weights.numel() * weights.element_size() for weights in encoder.parameters())


def cache_bytes() -> int:
    """Size of what this node has decoded of all data sets, those of the study among them: they were loaded."""
    folder = default_folder()
    return sum(path.stat().st_size for path in folder.glob("*.arrow")) if folder.is_dir() else 0
