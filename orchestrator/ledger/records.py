"""What a trial leaves behind, and its Arrow schemas."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import pyarrow as pa

Phase: TypeAlias = Literal["tune", "evaluate"]
Status: TypeAlias = Literal["completed", "stopped", "failed"]
Settings: TypeAlias = Mapping[str, bool | int | float | str]

SCORES: Final = pa.list_(
    pa.struct([("metric", pa.string()), ("region", pa.string()), ("value", pa.float64()), ("count", pa.int64())])
)
"""Metrics by region; `value` is null where the region has no samples."""

_COMMON: Final = [
    ("trial_id", pa.string()),
    ("study", pa.string()),  # the study that trained it; other studies may use it
    ("workload", pa.string()),
    ("data", pa.string()),  # fingerprint
    ("recipe", pa.string()),
    ("settings", pa.string()),  # canonical JSON of the settings that are not defaults
    ("seed", pa.int64()),
    ("number", pa.int64()),
    ("attempt", pa.int64()),
    ("status", pa.string()),
    ("epochs", pa.int64()),
    ("epochs_run", pa.int64()),
    ("kept_epoch", pa.int64()),
    ("val", SCORES),
    (
        "curve",
        pa.list_(pa.struct([("epoch", pa.int64()), ("stage", pa.int64()), ("loss", pa.float64()), ("val", SCORES)])),
    ),
    ("wall_s", pa.float64()),
    ("memory_mb", pa.float64()),  # most that the worker held during the trial; null where the driver wrote the record
    ("device_memory_mb", pa.float64()),  # and its share of a GPU; null on the CPU
    ("device", pa.string()),
    ("host", pa.string()),
    ("started", pa.timestamp("us", tz="UTC")),
    ("finished", pa.timestamp("us", tz="UTC")),
    ("versions", pa.string()),
    ("error", pa.string()),
    ("log", pa.string()),
]

SCHEMAS: Final[dict[Phase, pa.Schema]] = {
    "tune": pa.schema([*_COMMON, ("search", pa.string())]),  # the key of the suggestion that the trial was
    "evaluate": pa.schema([*_COMMON, ("test", SCORES), ("predictions", pa.string())]),
}
"""Tune records have no column for test metrics: choosing on test is impossible, not forbidden."""

LATER: Final = frozenset({"predictions", "search", "memory_mb", "device_memory_mb"})
"""Columns that older records lack."""

PREDICTIONS: Final = pa.schema([("row", pa.int64()), ("y", pa.float64()), ("pred", pa.float64())])
"""Test predictions of an evaluate trial, by row of the test split."""
SINGLE: Final = pa.schema([("row", pa.int64()), ("y", pa.float32()), ("pred", pa.float32())])
"""What earlier releases wrote."""


@dataclass(frozen=True)
class ScoreRow:
    """One metric in one region; None means "no samples"."""

    metric: str
    region: str
    value: float | None
    count: int


@dataclass(frozen=True)
class CurveRow:
    """One epoch: mean training loss and validation scores."""

    epoch: int
    stage: int
    loss: float
    val: tuple[ScoreRow, ...]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "CurveRow":
        """The epoch that `asdict` made a row of; other keys are left out."""
        return cls(row["epoch"], row["stage"], row["loss"], tuple(ScoreRow(**score) for score in row["val"]))

    def score(self, name: str) -> float | None:
        """A score by its name, `val/mae/few`."""
        _, metric, region = name.split("/")
        return _score(self.val, metric, region)


@dataclass(frozen=True)
class Record:
    """One trial's outcome: what a row of the ledger holds."""

    trial_id: str
    study: str
    workload: str
    data: str
    recipe: str
    settings: Settings
    seed: int
    number: int
    status: Status
    epochs: int
    started: datetime
    finished: datetime
    attempt: int = 0
    epochs_run: int = 0
    kept_epoch: int | None = None
    val: tuple[ScoreRow, ...] = ()
    test: tuple[ScoreRow, ...] | None = None
    curve: tuple[CurveRow, ...] = ()
    wall_s: float = 0.0
    memory_mb: float | None = None
    device_memory_mb: float | None = None
    device: str = ""
    host: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    log: str | None = None
    predictions: str | None = None
    search: str | None = None

    def renumbered(self, number: int) -> "Record":
        """The same under another number."""
        return replace(self, number=number)

    def score(self, name: str) -> float | None:
        """A score by its name, `val/mae/few` or `test/gm/all`."""
        split, metric, region = name.split("/")
        return _score({"val": self.val, "test": self.test or ()}[split], metric, region)

    def to_arrow(self, phase: Phase) -> pa.Table:
        """One row in the schema of its phase; raises ValueError for a score that is not a finite number."""
        if wrong := not_finite({name: [vars(s) for s in getattr(self, name) or ()] for name in ("val", "test")}):
            raise ValueError(f"a record holds finite scores: got {wrong} in trial {self.trial_id}")
        row = {
            **{name: getattr(self, name) for name in SCHEMAS[phase].names},
            "settings": canonical(self.settings),
            "versions": canonical(self.versions),
            "val": [vars(score) for score in self.val],
            "curve": [{**vars(row), "val": [vars(score) for score in row.val]} for row in self.curve],
        }
        if phase == "evaluate":
            row["test"] = [vars(score) for score in self.test or ()]
        return pa.Table.from_pylist([row], schema=SCHEMAS[phase])

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Record":
        """The record of a row of `Ledger.read`; columns of a newer version are left out.

        Earlier releases called a trial completed whose scores are not finite numbers: here it failed.
        """
        known: dict[str, Any] = {name: row[name] for name in row if name in cls.__dataclass_fields__}
        scores = {name: scores_in(row[name]) for name in ("val", "test") if name in row}
        curve = tuple(CurveRow(**{**point, "val": scores_in(point["val"])}) for point in row["curve"])
        wrong = not_finite(row)
        failed = {"status": "failed", "error": f"Diverged: {wrong}"} if wrong and row["status"] != "failed" else {}
        return cls(
            **{
                **known,
                **scores,
                **failed,
                "curve": curve,
                "settings": json.loads(row["settings"]),
                "versions": json.loads(row["versions"]),
            }
        )


def _score(rows: Iterable[ScoreRow], metric: str, region: str) -> float | None:
    return next((row.value for row in rows if (row.metric, row.region) == (metric, region)), None)


def not_finite(row: Mapping[str, Any]) -> str:
    """The first score of a row that is not a finite number, in words; empty where there is none."""
    return next(
        (
            f"{split}/{score['metric']}/{score['region']} became {score['value']}"
            for split in ("val", "test")
            for score in row.get(split) or ()
            if score["value"] is not None and not math.isfinite(score["value"])
        ),
        "",
    )


def scores_in(rows: Iterable[Mapping[str, Any]]) -> tuple[ScoreRow, ...]:
    """Scores as they were written; one that is not a finite number is none."""
    return tuple(
        ScoreRow(s["metric"], s["region"], s["value"] if math.isfinite(s["value"] or 0.0) else None, s["count"])
        for s in rows
    )


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(value: Mapping[str, Any]) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return _ENCODER.encode(value)


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)
