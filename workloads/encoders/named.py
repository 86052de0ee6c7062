"""Encoders that a study may name for its custom data sets, by kind of input."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from workloads.encoders.backbones import PREFIX, Backbone, is_backbone, settings
from workloads.encoders.dense import resnet50_maps, small_maps
from workloads.encoders.images import Scale, resnet18, resnet50
from workloads.encoders.piecewise import PiecewiseLinear, ple_mlp
from workloads.encoders.signals import SignalLSTM, SignalResNet
from workloads.encoders.small import conv_net, resnet32
from workloads.encoders.tables import TabM, Transformer, mlp, resnet
from workloads.hparams import UnknownName, Value

RTDL: Final = ("rtdl_revisiting_models",)
Made: TypeAlias = tuple[nn.Module, int]
CPU: Final = torch.device("cpu")


class Inputs(Protocol):
    """Training rows: a `workload.Split`."""

    @property
    def y(self) -> Tensor: ...

    def inputs(self, index: Tensor, device: torch.device) -> Tensor: ...


@dataclass(frozen=True)
class Named:
    """How an encoder is made: `make(shape, hidden, weights)` for inputs `[B, *shape]`.

    `hidden` are the widths of its layers where none are written, empty where they are its own; `axes` is the length of
    `shape`, 0 where inputs are flattened; `weights` says whether it reads a file of weights, `light` is that of
    a workload;
    `needs` are modules of `workloads.extras` that it takes; `settings` of `train.*` win over those of the data set.
    """

    make: Callable[[Sequence[int], Sequence[int], Path | None], Made]
    hidden: tuple[int, ...] = ()
    axes: int = 0
    weights: bool = False
    light: bool = False
    needs: tuple[str, ...] = ()
    settings: Mapping[str, Value] = field(default_factory=dict)

    def of(self, train: Inputs, hidden: Sequence[int] | None = None, weights: Path | None = None) -> Made:
        """An encoder for the inputs of training rows, whose quantiles it has if it asks for them."""
        shape = train.inputs(torch.zeros(1, dtype=torch.long), CPU).shape[1:]
        encoder, dim = self.make(shape, hidden or self.hidden, weights)
        for module in encoder.modules():
            if isinstance(module, PiecewiseLinear):
                module.fit(train.inputs(torch.arange(len(train.y)), CPU))
        return encoder, dim


def _mlp(shape: Sequence[int], hidden: Sequence[int], weights: Path | None) -> Made:
    return mlp(shape[0], hidden)


def _clipped(shape: Sequence[int], hidden: Sequence[int], weights: Path | None) -> Made:
    return mlp(shape[0], hidden, clipped=True)


def _piecewise(shape: Sequence[int], hidden: Sequence[int], weights: Path | None) -> Made:
    return ple_mlp(shape[0], hidden)


def _transformer(shape: Sequence[int], hidden: Sequence[int], weights: Path | None) -> Made:
    encoder = Transformer(shape[0])
    return encoder, encoder.dim


def _tabm(shape: Sequence[int], hidden: Sequence[int], weights: Path | None) -> Made:
    encoder = TabM(shape[0])
    return encoder, encoder.dim


def _conv1d(shape: Sequence[int], hidden: Sequence[int], weights: Path | None) -> Made:
    encoder = SignalResNet(shape[0], hidden)
    return encoder, encoder.dim


def _attending(shape: Sequence[int], hidden: Sequence[int], weights: Path | None) -> Made:
    encoder = SignalResNet(shape[0], hidden, attention=True)
    return encoder, encoder.dim


def _lstm(shape: Sequence[int], hidden: Sequence[int], weights: Path | None) -> Made:
    encoder = SignalLSTM(shape[0], hidden)
    return encoder, encoder.dim


def _strides(hidden: Sequence[int]) -> list[int]:
    """The first layer sees every pixel, each other one halves the image."""
    return [1, *[2] * (len(hidden) - 1)]


def _maps(shape: Sequence[int], hidden: Sequence[int], weights: Path | None) -> Made:
    # Inputs are scaled already.
    return conv_net([0.0] * shape[0], [1.0] * shape[0], hidden, _strides(hidden))


def _cnn(shape: Sequence[int], hidden: Sequence[int], weights: Path | None) -> Made:
    encoder, dim = _maps(shape, hidden, weights)
    return nn.Sequential(Scale(), encoder), dim


def _resnet32(shape: Sequence[int], hidden: Sequence[int], weights: Path | None) -> Made:
    encoder, dim = resnet32([0.0] * shape[0], [1.0] * shape[0])
    return nn.Sequential(Scale(), encoder), dim


def _small(shape: Sequence[int], hidden: Sequence[int], weights: Path | None) -> Made:
    encoder, dim = small_maps(shape[0], 16)
    return nn.Sequential(Scale(), encoder), dim


ENCODERS: Final[dict[str, dict[str, Named]]] = {
    "table": {
        "mlp": Named(_mlp, (128, 64), light=True),
        "clipped-mlp": Named(_clipped, (128, 64), light=True),
        "ple-mlp": Named(_piecewise, (128, 64), light=True),
        "resnet": Named(lambda shape, hidden, weights: resnet(shape[0]), needs=RTDL),
        "ft-transformer": Named(_transformer, needs=RTDL),
        # As its authors advise: stronger decay would pull the scales in which members differ to 0.
        "tabm": Named(
            _tabm,
            needs=("tabm",),
            settings={"train.optimizer": "adamw", "train.lr": 2e-3, "train.weight_decay": 3e-4},
        ),
    },
    "arrays": {
        "mlp": Named(_mlp, (128, 64), light=True),
        "conv1d": Named(_conv1d, (32, 64), axes=2),
        "conv1d-attention": Named(_attending, (32, 64), axes=2),
        "lstm": Named(_lstm, (64,), axes=2),
        "cnn": Named(_maps, (16, 32, 64), axes=3),
    },
    "images": {
        "cnn": Named(_cnn, (16, 32, 64), axes=3),
        "resnet32": Named(_resnet32, axes=3),
        "resnet18": Named(
            lambda shape, hidden, weights: resnet18(weights), axes=3, weights=True, needs=("transformers",)
        ),
        "resnet50": Named(
            lambda shape, hidden, weights: resnet50(weights), axes=3, weights=True, needs=("transformers",)
        ),
    },
    "maps": {
        "small": Named(_small, axes=3),
        "resnet50": Named(
            lambda shape, hidden, weights: resnet50_maps(weights), axes=3, weights=True, needs=("transformers",)
        ),
    },
}
"""By the `type` of a declaration and the encoder's name; the first of a kind is what it has if none is named."""

ENCODERS_NEED: Final = frozenset(
    ("timm", *(module for named in ENCODERS.values() for each in named.values() for module in each.needs))
)
"""Modules of `workloads.extras` that encoders are made of."""

FURTHER: Final = {"images": (f"{PREFIX}NAME",)}
"""Names that stand for many, by kind."""


def encoder_named(kind: str, name: str) -> Named:
    """The encoder of a name for a kind of input: ours, or for images one of timm; raises ValueError with near names."""
    known = ENCODERS[kind]
    if kind == "images" and is_backbone(name):
        settings(name)  # tells a network that timm does not have
        return _backbone(name)
    if name not in known:
        raise UnknownName("encoder", name, (*known, *FURTHER.get(kind, ())), f"type {kind}")
    return known[name]


def readers_of_weights(kind: str) -> str:
    """The names of the encoders of a kind that read a file of weights, in words."""
    return ", ".join((*(name for name, each in ENCODERS[kind].items() if each.weights), *FURTHER.get(kind, ())))


@cache
def _backbone(name: str) -> Named:
    def made(shape: Sequence[int], hidden: Sequence[int], weights: Path | None) -> Made:
        encoder = Backbone(name, shape[-1], weights)
        return encoder, encoder.dim

    return Named(made, axes=3, weights=True, needs=("timm",))
