"""The device that a trial was given."""

import platform

import torch

from workloads.speed import repeat_exactly


def device_of(cpus: float, gpus: float, exactly: bool) -> torch.device:
    """The device that a trial was given; its share of a GPU's memory is enforced here, since Ray does not.

    `exactly`: with algorithms that repeat to the bit.
    """
    torch.set_num_threads(max(1, int(cpus)))
    repeat_exactly(exactly)
    if gpus > 0 and torch.cuda.is_available():
        if gpus < 1:
            torch.cuda.set_per_process_memory_fraction(gpus)
        return torch.device("cuda", 0)
    return torch.device("cpu")


def name_of(device: torch.device) -> str:
    """The name of a GPU, or of the kind of processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"
