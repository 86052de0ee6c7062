"""What trackers show of a record: scores by names that all of them use."""

from collections.abc import Iterator

from orchestrator.ledger.records import Record


def final(record: Record) -> Iterator[tuple[str, float]]:
    """The scores of the kept epoch, as `val/mae/few` and `test/mae/few`."""
    for split, scores in (("val", record.val), ("test", record.test or ())):
        for score in scores:
            if score.value is not None:
                yield f"{split}/{score.metric}/{score.region}", score.value


def curve(record: Record) -> Iterator[tuple[int, dict[str, float]]]:
    """Epochs with the loss and the scores on validation, as `train/loss` and `epoch/val/mae/few`."""
    for row in record.curve:
        val = {f"epoch/val/{s.metric}/{s.region}": s.value for s in row.val if s.value is not None}
        yield row.epoch, {"train/loss": row.loss, **val}
