"""Splits as the loop meets them: batches to train on, and the features of scored labels."""

import math
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from workloads.labels import LabelGrid
from workloads.methods.bins import bin_of
from workloads.prefetch import Read
from workloads.seam import Batch
from workloads.workload import Maps, Split, Workload


class Rows:
    """A split whose labels are rows `[N]`: small enough for the device. `y` is as labels are learnt."""

    def __init__(self, split: Split, workload: Workload, device: torch.device) -> None:
        self.split, self.workload, self.device = split, workload, device
        self.y = torch.from_numpy(workload.grid.learnt(split.y.numpy())).to(device)
        self.bins = torch.from_numpy(workload.grid.bin(split.y.numpy())).to(device)

    @property
    def read_ahead(self) -> bool:
        """Whether inputs come from a disk, so that a thread should read the next batch while the last one is trained.

        A split says so by `read_ahead = True`; a gather from a table takes less time than it takes to ask a thread.
        """
        return bool(getattr(self.split, "read_ahead", False))

    def inputs(self, rows: Tensor) -> Read:
        """Inputs `[B, …]` of rows `[B]` (on the CPU), as they are."""
        return (self.split.inputs(rows, self.device),)

    def read(self, rows: Tensor) -> Read:
        """All that a batch to train on needs of rows; draws no random numbers."""
        return self.inputs(rows)

    def batch(self, rows: Tensor, epoch: int, stage: int, done: float = 0.0, read: Read | None = None) -> Batch:
        """Rows `[B]` (on the CPU) to train on, augmented; `read` is what was read of them, if it was."""
        (x,) = read or self.read(rows)
        index = rows.to(self.device, non_blocking=True)
        augment = self.workload.augment
        seen, again = (x, None) if augment is None else (augment(x), partial(augment, x))
        return Batch(seen, self.y[index], self.bins[index], index, epoch, stage, done, again)

    def wanted(self) -> Tensor:
        """The rows that have scored labels, ascending: all."""
        return torch.arange(len(self.split.y))

    def seen(self, x: Tensor) -> Tensor:
        """Inputs `[B, …]` as a pass in training mode sees them: augmented."""
        return x if self.workload.augment is None else self.workload.augment(x)

    def scored(self, z: Tensor, rows: Tensor) -> Tensor:
        """Features of the scored labels of rows: each row's own, `[B, D]`, the mean of an ensemble's `[B, k, D]`."""
        return z.mean(1) if z.dim() == 3 else z

    def places(self, rows: Tensor) -> Tensor:
        """Where among all scored labels `[N]` those of ascending rows are."""
        return rows


class Pixels(Rows):
    """A split whose labels are maps: they are read with every batch, and scored at chosen pixels."""

    split: Maps

    def __init__(self, split: Maps, workload: Workload, device: torch.device) -> None:
        self.split, self.workload, self.device = split, workload, device
        self.y = torch.from_numpy(workload.grid.learnt(split.y.numpy())).to(device)
        self.edges = torch.from_numpy(workload.grid.steps).to(device)
        self.size = math.prod(split.shape)

    def read(self, rows: Tensor) -> Read:
        """Images and their maps."""
        return self.split.inputs(rows, self.device), self.split.maps(rows, self.device)

    def batch(self, rows: Tensor, epoch: int, stage: int, done: float = 0.0, read: Read | None = None) -> Batch:
        """Images to train on with maps `[B, h, w]` of labels and bins; a pixel without a label has any bin."""
        augment = self.workload.augment_maps or (lambda x, y: (x, y))
        x, y = augment(*(read or self.read(rows)))
        y = learnt(y, self.workload.grid)
        index = rows.to(self.device, non_blocking=True)
        return Batch(x, y, bin_of(y, self.edges), index, epoch, stage, done)

    def wanted(self) -> Tensor:
        """The rows that have scored pixels, ascending."""
        rows: Tensor = torch.unique_consecutive(self.split.at // self.size)
        return rows

    def seen(self, x: Tensor) -> Tensor:
        """Images as they are, as published: an augmented map would hold other labels at the scored places."""
        return x

    def scored(self, z: Tensor, rows: Tensor) -> Tensor:
        """Features `[P, D]` of the scored pixels of ascending rows, from their maps `[B, D, h, w]`."""
        at = self.split.at[self.places(rows)]
        row, place = torch.searchsorted(rows, at // self.size).to(z.device), (at % self.size).to(z.device)
        features: Tensor = at_size(z, self.split.shape).flatten(2).movedim(1, -1)[row, place]
        return features

    def places(self, rows: Tensor) -> Tensor:
        """Where among all scored pixels `[P]` those of ascending rows are."""
        first, end = torch.searchsorted(self.split.at, torch.stack([rows, rows + 1]) * self.size)
        held = end - first
        before = held.cumsum(0) - held
        found: Tensor = torch.arange(int(held.sum())) + (first - before).repeat_interleave(held)
        return found


def learnt(labels: Tensor, grid: LabelGrid) -> Tensor:
    """`LabelGrid.learnt` where the labels are, shaped like them; NaN stays."""
    if grid.learnt_in == "labels":
        return labels.float()
    values = labels.double()
    rounding = 4 * torch.finfo(torch.float64).eps * values.abs().clamp(min=max(abs(grid.low), abs(grid.high)))
    if labels.dtype != values.dtype:
        size = labels.abs()
        rounding += (torch.nextafter(size, torch.full_like(size, torch.inf)) - size) / 2
    place = (values - grid.low) / grid.width
    edge = place.round()
    return torch.where((place - edge).abs() * grid.width <= rounding, edge, place).float()


def viewed(split: Split, workload: Workload, device: torch.device) -> Rows:
    """A split as rows or as maps, by what it is."""
    return Pixels(split, workload, device) if isinstance(split, Maps) else Rows(split, workload, device)


def at_size(z: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Feature maps `[B, D, …]` brought to the size of label maps, bilinearly; as they are where it is theirs."""
    return z if z.shape[2:] == shape else interpolate(z, size=shape, mode="bilinear", align_corners=False)
