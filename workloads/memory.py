"""A batch that does not fit into memory: how that is known, and the pieces in which it is trained then."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

from workloads.seam import Batch

ALLOCATORS: Final = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What errors without a class of their own name: memory of the host, and workspaces of libraries on the device."""


class WholeBatch(ValueError):
    """A batch that is too large for the memory cannot be trained in pieces: parts look at all of its samples."""

    def __init__(self, parts: Iterable[str]) -> None:
        super().__init__(
            f"memory did not suffice for a batch, and {' and '.join(parts)} must see it whole, so that it is not "
            "trained in pieces: lower train.batch_size, or give a trial more memory"
        )


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the host or of the device, did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(name in str(error) for name in ALLOCATORS)


def in_pieces(batch: Batch, count: int) -> Iterator[tuple[float | Tensor, Batch]]:
    """A batch in `count` pieces of rows, or images, each with its share of the batch's samples.

    The mean over the batch is the sum of the pieces' means times their shares. Where labels are maps, samples are the
    labelled pixels: their share is a scalar on the device, so that nothing waits for it. A piece has two rows at least,
    as BatchNorm needs.
    """
    count = max(1, min(count, len(batch.index) // 2))
    known = None if batch.y.dim() == 1 else (~batch.y.isnan()).sum((1, 2)).float()
    for rows in torch.arange(len(batch.index)).tensor_split(count):
        at = slice(int(rows[0]), int(rows[-1]) + 1)
        share = len(rows) / len(batch.index) if known is None else known[at].sum() / known.sum()
        again = None if batch.again is None else partial(_rows_of, batch.again, at)
        piece = replace(batch, x=batch.x[at], y=batch.y[at], bin=batch.bin[at], index=batch.index[at], again=again)
        yield share, piece


def _rows_of(made: Callable[[], Tensor], at: slice) -> Tensor:
    return made()[at]


def told(pieces: int, encoder: nn.Module) -> tuple[str, ...]:
    """What the record says of a run whose batches were trained in pieces; nothing where they were not."""
    if pieces == 1:
        return ()
    words = f"memory did not suffice: every batch was trained in {pieces} pieces, whose gradients were added"
    norms = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in encoder.modules())
    return (f"{words}; BatchNorm took the statistics of the pieces" if norms else words,)
