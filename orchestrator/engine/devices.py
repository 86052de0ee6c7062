"""The device of a trial: the share of the machine that it was given."""

import platform
from collections.abc import Mapping

import torch

from workloads.hparams import Value
from workloads.speed import repeat_exactly


def device_for(cpus: float, gpus: float, settings: Mapping[str, Value]) -> torch.device:
    """The device that a trial was given; its share of a GPU's memory is enforced here, since Ray does not."""
    torch.set_num_threads(max(1, int(cpus)))
    repeat_exactly(bool(settings.get("train.deterministic", True)))
    if gpus > 0 and torch.cuda.is_available():
        if gpus < 1:
            torch.cuda.set_per_process_memory_fraction(gpus)
        return torch.device("cuda", 0)
    return torch.device("cpu")


def name_of(device: torch.device) -> str:
    """What records call a device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"
