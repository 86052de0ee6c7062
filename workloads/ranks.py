"""Processes that train one run together: each takes its part of every batch, and all keep the same weights.

    gradient of the mean over a batch = Σ_r share_r · gradient of the mean over the part of process r

With share_r the part's share of the samples of the batch. So a step is that of one process, but for rounding, where no
part of the recipe looks at the samples of a batch together. What is no step (statistics passes, predictions) is encoded
in parts, too, and gathered, so that every process goes on from the same numbers.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch does not export it to type checkers
from torch.distributed.distributed_c10d import Store
from torch.nn.modules.batchnorm import _BatchNorm

from workloads.prefetch import Read, ahead
from workloads.seam import Batch, Part
from workloads.seeds import seed_of

HERE: Final = "127.0.0.1"
"""Processes of a run are on one node."""
LEAST: Final = 4
"""Rows of a part at least: BatchNorm needs two in each of the two pieces in which it may be trained (`memory`)."""
PATIENCE: Final = timedelta(days=7)
"""A process waits so long for the others: how long an epoch may take is the business of who started them."""


class Undivided(ValueError):
    """Several processes cannot share the batches of a run."""


class Ranks:
    """This process as number `rank` of the `size` that train a run; of one, nothing is exchanged."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def parts(self, rows: Tensor) -> Sequence[Tensor]:
        """The rows of a batch by process, in their order; one part, which all take, where there are too few."""
        return (rows,) if self.size == 1 or len(rows) < LEAST * self.size else rows.tensor_split(self.size)

    def part(self, rows: Tensor) -> Tensor:
        """What this process takes of the rows of a batch."""
        parts = self.parts(rows)
        return parts[self.rank % len(parts)]

    def ahead(
        self, read: Callable[[Tensor], Read], batches: Sequence[Tensor], device: torch.device, worth: bool
    ) -> Iterator[tuple[Tensor, Tensor, Read]]:
        """Batches of rows, with what this process takes of each, and what is read of that (`prefetch.ahead`)."""
        own = [self.part(rows) for rows in batches]
        for whole, (rows, found) in zip(batches, ahead(read, own, device, worth), strict=True):
            yield whole, rows, found

    def share(self, batch: Batch, rows: Tensor) -> float | Tensor | None:
        """The share of this process's part in the samples of the batch of these rows; None where it is alone.

        Where labels are maps, samples are the labelled pixels: their share is a scalar on the device.
        """
        if self.size == 1:
            return None
        if batch.y.dim() == 1:
            return len(batch.index) / len(rows) if len(self.parts(rows)) > 1 else 1 / self.size
        known = (~batch.y.isnan()).sum().float()
        total = known.clone()
        self.add([total])
        return known / total

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Put the sum over all processes in the place of tensors, in one exchange."""
        if self.size == 1 or not (held := list(tensors)):
            return
        flat = torch.cat([tensor.flatten() for tensor in held])
        dist.all_reduce(flat)
        for tensor, summed in zip(held, torch.split(flat, [tensor.numel() for tensor in held]), strict=True):
            tensor.copy_(summed.view_as(tensor))

    def add_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        """Add the gradients of all processes up, of what an optimizer moves."""
        if self.size > 1:
            held = (weight.grad for group in optimizer.param_groups for weight in group["params"])
            self.add(gradient for gradient in held if gradient is not None)

    def unite(self, seen: Tensor) -> None:
        """Set flags that are set in one of the processes."""
        if self.size > 1:
            held = seen.float()
            self.add([held])
            seen.copy_(held > 0)

    def gather(self, z: Tensor, rows: Tensor, places: Callable[[Tensor], Tensor]) -> Tensor:
        """What all processes made `[n, …]` of the rows of a batch, from this one's; `places` has one for each of n."""
        parts = self.parts(rows)
        if len(parts) == 1:
            return z
        counts = [len(places(part)) for part in parts]
        padded = z.new_zeros(max(counts), *z.shape[1:])
        padded[: len(z)] = z
        held = [torch.empty_like(padded) for _ in parts]
        dist.all_gather(held, padded)
        return torch.cat([each[:count] for each, count in zip(held, counts, strict=True)])

    def first(self, tensor: Tensor) -> Tensor:
        """The first process's, for all: what decisions depend on must not differ by rounding."""
        if self.size > 1:
            tensor = tensor.contiguous()
            dist.broadcast(tensor, 0)
        return tensor

    @contextmanager
    def epoch(self, number: int, seed: int, weights: Iterable[Tensor], parts: Sequence[Part]) -> Iterator[None]:
        """An epoch of training: all begin with the first process's weights, a fresh head among them.

        Each has random numbers of its own, for noise must not be that of another process's rows: they follow from the
        arguments, so that no checkpoint needs them. Afterwards all parts draw the same again.
        """
        if self.size == 1:
            yield
            return
        for weight in weights:
            weight.data.copy_(self.first(weight.data))
        if self.rank:
            torch.manual_seed(seed_of(seed, "process", self.rank, number))
            for place, part in enumerate(parts):
                part.seed(seed_of(seed, "process", self.rank, number, place), part.generator.device)
        yield
        for part in parts:
            part.set_extra_state(self.first(part.get_extra_state()))

    def together(self, encoder: nn.Module, device: torch.device) -> nn.Module:
        """An encoder whose BatchNorm has the statistics of whole batches; raises Undivided where torch has no such."""
        if device.type != "cuda":
            check_statistics(encoder)
        made: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(encoder)  # type: ignore[no-untyped-call]  # torch
        return made

    @property
    def notes(self) -> tuple[str, ...]:
        """What a record says of it."""
        return () if self.size == 1 else (f"trained by {self.size} processes, each with its part of every batch",)

    def close(self) -> None:
        """Go on alone."""
        if self.size > 1:
            dist.destroy_process_group()
            self.rank, self.size = 0, 1


ALONE: Final = Ranks()


def check_statistics(encoder: nn.Module) -> None:
    """Raises Undivided for an encoder with BatchNorm, of which torch has one that is shared on GPUs only."""
    if any(isinstance(module, _BatchNorm) for module in encoder.modules()):
        raise Undivided(
            "this encoder has BatchNorm, whose statistics several processes share on GPUs only: give a trial one "
            "process on CPUs, or GPUs"
        )


def check_undivided(names: Sequence[str]) -> None:
    """Raises Undivided where parts of these names look at the samples of a batch together."""
    if names:
        raise Undivided(
            f"{' and '.join(names)} must see a batch whole, which several processes share: give a trial one GPU, or "
            "one process, at most"
        )


def meeting(size: int, port: int = 0) -> TCPStore:
    """Where the processes of a run meet: at a port of this node, or at a free one that is opened."""
    return TCPStore(HERE, port, size, is_master=not port, wait_for_workers=False)


def join(rank: int, size: int, store: Store, device: torch.device) -> Ranks:
    """This process among those of a run, when all have come."""
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    return Ranks(rank, size)
