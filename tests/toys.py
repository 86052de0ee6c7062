"""Small made-up workloads on which every part can be trained in milliseconds."""

from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from workloads.labels import LabelGrid, Shares, Shots
from workloads.workload import Data, Maps, Origin, Table, Units, Workload

INPUTS = 5


def _rows(n: int, seed: int, classes: bool) -> Table:
    """Inputs that tell the label; small labels are frequent, large ones rare, some absent."""
    generator = torch.Generator().manual_seed(seed)
    y = (30 * torch.rand(n, generator=generator) ** 3).floor()
    if classes:
        y = (y / 6).floor()
    x = torch.randn(n, INPUTS, generator=generator)
    x[:, 0] = y / 10 + 0.1 * x[:, 0]
    return Table(x, y)


def _load(classes: bool, root: Path | None) -> Data:
    units = Units() if classes else Units(8.0, 8.0)
    return Data(_rows(120, 0, classes), _rows(40, 1, classes), _rows(40, 2, classes), units, "toy")


def _encoder(data: Data) -> tuple[nn.Module, int]:
    # BatchNorm and dropout: what a resume forgets first.
    return nn.Sequential(nn.Linear(INPUTS, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 6)), 6


def _workload(task: Literal["regression", "classification"], grid: LabelGrid, metrics: tuple[str, ...]) -> Workload:
    return Workload(
        name=f"toy-{task}",
        title="made up",
        unit="",
        origin=Origin(source="made up", licence=""),
        grid=grid,
        shots=Shots(many=6, few=3),
        load=partial(_load, task == "classification"),
        encoder=_encoder,
        task=task,
        metrics=metrics,
        settings={"train.batch_size": 32, "train.lr": 1e-2},
    )


TOYS = {
    "regression": _workload("regression", LabelGrid(0, 30, 30), ("mae", "gm")),
    "classification": _workload("classification", LabelGrid(0, 5, 5), ("accuracy", "mae")),
}


class Pointwise(nn.Module):
    """Features of every pixel from this pixel alone; no statistics of a batch, in which hidden pixels would show."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 8, 1), nn.Tanh(), nn.Conv2d(8, 6, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


HIDDEN = 0.2
"""Share of the pixels without a label."""


def _maps(n: int, seed: int, classes: bool, hidden: float = 0.0) -> Maps:
    """Images `[n, 2, 8, 8]` whose first channel tells the label; `hidden` stands in the pixels that have none."""
    generator = torch.Generator().manual_seed(seed)
    y = (30 * torch.rand(n, 8, 8, generator=generator) ** 3).floor()
    if classes:
        y = (y / 6).floor()
    x = torch.randn(n, 2, 8, 8, generator=generator)
    x[:, 0] = y / 10 + 0.1 * x[:, 0]
    without = torch.rand(n, 8, 8, generator=generator) < HIDDEN
    x = torch.where(without[:, None], hidden, x)
    y = torch.where(without, torch.nan, y)
    at = (~without).flatten().nonzero().squeeze(1)[::2]  # half of the labelled pixels are scored
    grid = DENSE["classification" if classes else "regression"].grid
    counts = grid.counts(y[~without].numpy())
    return Maps(n, (8, 8), lambda i, d: x[i].to(d), lambda i, d: y[i].to(d), (at, y.flatten()[at]), counts)


def dense_data(classes: bool, hidden: float = 0.0) -> Data:
    """Made-up dense data; what its unlabelled pixels hold must not matter."""
    units = Units() if classes else Units(8.0, 8.0)
    return Data(*(_maps(n, seed, classes, hidden) for seed, n in enumerate((24, 8, 8))), units, "dense")


def _dense(
    task: Literal["regression", "classification"], grid: LabelGrid, shots: Shares, metrics: tuple[str, ...]
) -> Workload:
    return Workload(
        name=f"toy-dense-{task}",
        title="made up",
        unit="",
        origin=Origin(source="made up", licence=""),
        grid=grid,
        shots=shots,
        load=lambda root: dense_data(task == "classification"),
        encoder=lambda data: (Pointwise(), 6),
        task=task,
        metrics=metrics,
        settings={"train.batch_size": 7, "train.lr": 1e-2},
        dense=True,
    )


DENSE = {
    "regression": _dense("regression", LabelGrid(0, 30, 30), Shares(0.1, 0.02), ("mae", "rmse")),
    "classification": _dense("classification", LabelGrid(0, 5, 5), Shares(0.12, 0.085), ("accuracy", "miou")),
}
