"""What is trained: workloads, objectives, methods and plans. Knows torch, and nothing of Ray, MLflow or S3."""

from dataclasses import replace
from importlib import import_module
from typing import ClassVar, Final

import torch
from torch import nn

from workloads.encoders.backbones import is_backbone
from workloads.encoders.named import encoder_named
from workloads.hparams import UnknownName
from workloads.workload import Data, Workload

FAMILIES: Final = (
    "nhanes",
    "vader",
    "digits",
    "faces",
    "stsb",
    "signals",
    "cifar",
    "sst",
    "modelnet",
    "photos",
    "stereo",
    "nyud2",
    "ade20k",
)
"""Files of `workloads/data/` with the tuple WORKLOADS, in the order of `tailsweep data list`."""


class Registry(dict[str, Workload]):
    """Workloads by name; `NAME@ENCODER` is the data set NAME, read by another encoder of its kind."""

    _read_otherwise: ClassVar[dict[tuple[Workload, str], Workload]] = {}

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        base, _, encoder = str(name).partition("@")
        workload = self.get(base)
        if workload is None or not workload.kind:
            return False
        try:
            encoder_named(workload.kind, encoder)
        except ValueError:  # no encoder of that name
            return False
        return True

    def __missing__(self, name: str) -> Workload:
        if name not in self:
            raise KeyError(name)
        base, _, encoder = name.partition("@")
        key = super().__getitem__(base), encoder
        if key not in self._read_otherwise:
            self._read_otherwise[key] = read_by(*key)
        return self._read_otherwise[key]


def read_by(workload: Workload, encoder: str) -> Workload:
    """The same data set with another encoder of its kind."""
    named = encoder_named(workload.kind, encoder)

    def made(data: Data) -> tuple[nn.Module, int]:
        shape = data.train.inputs(torch.zeros(1, dtype=torch.long), torch.device("cpu")).shape[1:]
        return named.make(shape, named.hidden, None)

    return replace(
        workload,
        name=f"{workload.name}@{encoder}",
        title=f"{workload.title}, {encoder}",
        encoder=made,
        light=named.light,
        settings={**workload.settings, **named.settings},
        needs=(*workload.needs, *named.needs),
    )


WORKLOADS: Final[dict[str, Workload]] = Registry(
    (workload.name, workload) for family in FAMILIES for workload in import_module(f"workloads.data.{family}").WORKLOADS
)
"""Every workload by name."""


def unknown(name: str, where: str = "") -> ValueError:
    """Why no workload has a name: what is wrong with the network of timm behind its `@`, or that it is in no list."""
    base, _, encoder = name.partition("@")
    if is_backbone(encoder) and base in WORKLOADS and (kind := WORKLOADS[base].kind):
        try:
            encoder_named(kind, encoder)
        except ValueError as err:
            return ValueError(f"workload {name!r}: {err}")
    return UnknownName("workload", name, WORKLOADS, where)
