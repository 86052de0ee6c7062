"""Reading the next batch while the last one is trained."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeAlias

import torch
from torch import Tensor

DEPTH: Final = 2
"""Batches that are read before they are asked for: one being copied, one being read."""

Read: TypeAlias = tuple[Tensor, ...]
"""What is read of some rows: inputs, and maps where labels are maps, on the device."""


def ahead(
    read: Callable[[Tensor], Read], batches: Sequence[Tensor], device: torch.device, worth: bool
) -> Iterator[tuple[Tensor, Read]]:
    """Batches of rows with what is read of them, in order; where it is `worth` a thread, by one that reads ahead.

    What is read draws no random numbers, so the numbers are the same with a thread and without. On a GPU copies go by a
    stream of their own, from pinned memory, so that neither the host nor the training waits for them.
    """
    if not worth:
        yield from ((rows, read(rows)) for rows in batches)
        return
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]  # torch

    def fetch(rows: Tensor) -> tuple[Read, torch.cuda.Event | None]:
        if stream is None:
            return read(rows), None
        with torch.cuda.stream(stream):
            return read(rows), stream.record_event()

    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        waiting = deque(pool.submit(fetch, rows) for rows in batches[:DEPTH])
        for number, rows in enumerate(batches):
            found, copied = waiting.popleft().result()
            if number + DEPTH < len(batches):
                waiting.append(pool.submit(fetch, batches[number + DEPTH]))
            if copied is not None:
                current = torch.cuda.current_stream(device)
                current.wait_event(copied)
                for tensor in found:
                    tensor.record_stream(current)  # its memory is not given to the next copy before it has been used
            yield rows, found
    finally:
        pool.shutdown(cancel_futures=True)
