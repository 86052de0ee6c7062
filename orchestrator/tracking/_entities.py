"""A record of the ledger in MLflow's words."""

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from mlflow.entities import Metric, Param

from orchestrator.ledger.records import Record
from orchestrator.ledger.samples import Sample
from orchestrator.tracking._scores import curve, final

LONGEST: Final = 6000
"""Most characters of a parameter's value."""


def name_of(record: Record) -> str:
    """What the run of a trial is found by."""
    return f"{record.trial_id}.{record.attempt}"


def params_of(settings: Mapping[str, object]) -> list[Param]:
    """Hyperparameters as text."""
    return [Param(key, str(value)[:LONGEST]) for key, value in settings.items()]


def metrics_of(record: Record, stamp: int) -> Iterator[Metric]:
    """The learning curve by epoch, then the final scores, all with recorded times: sent twice they would be equal.

    At last what the trial took, the most memory under the names that MLflow's page of system metrics shows.
    """
    took = {
        "wall_s": record.wall_s,
        "system/memory_megabytes": record.memory_mb,
        "system/gpu_memory_megabytes": record.device_memory_mb,
    }
    known = {name: value for name, value in took.items() if value is not None}
    for epoch, values in (*curve(record), (record.kept_epoch or 0, dict(final(record))), (0, known)):
        for name, value in values.items():
            if math.isfinite(value):
                yield Metric(name, value, stamp, epoch)


def system_metrics(samples: Iterable[Sample]) -> Iterator[Metric]:
    """Samples of the machine under MLflow's names for them, at the times when they were taken."""
    for step, (at, seen) in enumerate(samples):
        for name, value in seen.items():
            if math.isfinite(value):
                yield Metric(f"system/{name}", value, milliseconds(at), step)


def milliseconds(when: datetime) -> int:
    """Since 1970."""
    return int(when.timestamp() * 1000)
