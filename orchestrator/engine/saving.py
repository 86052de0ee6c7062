"""What is kept of a trial under way and of its epochs: the bytes of a checkpoint, and rows of scores."""

import io
from collections.abc import Mapping
from typing import Any

import torch

from orchestrator.ledger.checkpoints import packed, unpacked
from orchestrator.ledger.records import CurveRow, ScoreRow
from workloads.epoch import Epoch
from workloads.metrics import Score


def saved_as(trial_id: str, state: Mapping[str, Any]) -> bytes:
    """The bytes of a trial's checkpoint."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return packed(trial_id, buffer.getvalue())


def restored(key: str, saved: bytes, device: torch.device) -> dict[str, Any]:
    """The state in a checkpoint; raises StorageFailed when it is damaged, and what torch raises for other bytes."""
    state: dict[str, Any] = torch.load(io.BytesIO(unpacked(key, saved)), map_location=device, weights_only=True)
    return state


def curve_in(key: str, saved: bytes) -> tuple[CurveRow, ...]:
    """The learning curve in a checkpoint; empty where it cannot be read: what is damaged must not cost more."""
    try:
        rows = restored(key, saved, torch.device("cpu"))["fit"]["curve"]
        return tuple(row_of(Epoch.of(row)) for row in rows)
    except Exception:
        return ()


def row_of(epoch: Epoch) -> CurveRow:
    """An epoch as a record keeps it."""
    return CurveRow(epoch.epoch, epoch.stage, epoch.loss, score_rows(epoch.val))


def score_rows(scores: Mapping[str, Mapping[str, Score]]) -> tuple[ScoreRow, ...]:
    """Scores by region and metric as a record keeps them."""
    return tuple(
        ScoreRow(metric, region, score.value, score.count)
        for region, metrics in scores.items()
        for metric, score in metrics.items()
    )
