"""How a network is run, and not what it computes: the layout of images, a compiler, and algorithms that repeat."""

import os
import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from workloads.messages import reason


class NotFaster(UserWarning):
    """What should have made a run faster cannot be had here: it goes on without."""


def repeat_exactly(exactly: bool) -> None:
    """Whether operations take algorithms that give the same bits each time, or on a GPU the fastest of several.

    Holds for the process. The fastest are found by trying (cudnn.benchmark), so that a continued run may take others.
    """
    # Read by cuBLAS when it starts; without it products of matrices are not repeatable.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(exactly, warn_only=True)
    torch.backends.cudnn.deterministic = exactly
    torch.backends.cudnn.benchmark = not exactly


def channels_last(encoder: nn.Module, image: Tensor) -> None:
    """Let an encoder of images `[B, C, H, W]` keep the channels of a pixel together in memory; others stay."""
    if image.dim() != 4:
        warnings.warn(f"train.channels_last is for images: inputs are {image.dim() - 1}-d", NotFaster, stacklevel=2)
        return

    def turned(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0].contiguous(memory_format=torch.channels_last), *args[1:])

    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads lack this one
    encoder.register_forward_pre_hook(turned)


def compiled(encoder: nn.Module, device: torch.device) -> None:
    """Compile an encoder, names of whose weights stay; where nothing can be compiled, warn and leave it."""
    if missing := _no_compiler(device.type):
        warnings.warn(f"train.compile needs a compiler, and was left out: {missing}", NotFaster, stacklevel=2)
        return
    # Not `encoder.compile()`, which leaves containers of torch as they are, such as the nn.Sequential of an MLP.
    encoder.forward = torch.compile(encoder.forward)


@cache
def _no_compiler(device: str) -> str:
    """Why nothing can be compiled for a kind of device; empty where something small could be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of its own parts
            torch.compile(lambda x: x + 1)(torch.zeros(2, device=device))
    except Exception as err:  # of Triton, of a C++ compiler, or of Python's own headers: all kinds
        return reason(err)
    return ""
