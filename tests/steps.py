"""A step of training by hand, for tests that look into it or time it."""

import torch
from torch import Tensor

from workloads.loop import Fit
from workloads.memory import in_pieces
from workloads.seam import Batch


def backward_of(run: Fit, batch: Batch) -> Tensor:
    """Add the gradient of a batch as a run does, in its precision and its pieces; returns the loss."""
    losses = []
    for share, piece in in_pieces(batch, run.pieces):
        with run.hparams.autocast(run.device):
            loss = run.model.loss(piece) * share
        run.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        losses.append(loss.detach())
    return torch.stack(losses).sum()
