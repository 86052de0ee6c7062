"""Small made-up workloads on which every part can be trained in milliseconds."""

from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from workloads.labels import LabelGrid, Shots
from workloads.workload import Data, Origin, Table, Units, Workload

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
