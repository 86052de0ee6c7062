"""The memory of a worker's process: what a trial took of it, and when a fresh process is better."""

import contextlib
import ctypes
import gc
import os
import resource
import sys
from pathlib import Path
from typing import Final

import torch

MB: Final = 1 << 20
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
OWN: Final = Path("/proc/self")
GROWTH: Final = 0.5
"""A process that holds so much more than after the first trial of its kind is replaced: it starts in three seconds."""
SLACK: Final = 0.05
"""Growth above which what nobody holds any more is looked for, which takes a tenth of a second."""
PEAK_ANEW: Final = b"5"
"""What Linux wants to hear in `clear_refs` to begin a new peak (proc_pid_clear_refs(5))."""


def resident_mb() -> float:
    """Memory that this process holds now, in MB; where there is no /proc, the most that it ever held."""
    try:
        return int((OWN / "statm").read_bytes().split()[1]) * PAGE / MB
    except OSError:
        return _most_ever()


def _most_ever() -> float:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / MB if sys.platform == "darwin" else most / 1024


class Peak:
    """The most memory that the process and its share of a GPU held since this was made."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with contextlib.suppress(OSError):  # where it may not be written, the peak is that of the process so far
            (OWN / "clear_refs").write_bytes(PEAK_ANEW)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def taken(self) -> dict[str, float | None]:
        """As columns of a record, in MB; None of the device for trials on the CPU."""
        on_device = torch.cuda.max_memory_reserved(self._device) / MB if self._device.type == "cuda" else None
        return {"memory_mb": _peak_mb(), "device_memory_mb": on_device}


def _peak_mb() -> float:
    try:
        lines = (OWN / "status").read_text("ascii").splitlines()
    except OSError:
        return _most_ever()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), _most_ever())


class Wear:
    """Whether a process should train no further trial: after `most` of them, or when it holds on to memory.

    It is compared with what it held after the first trial of the workload that came last to it: other data may take
    more. `worn` is the answer.
    """

    def __init__(self, most: int) -> None:
        self._most, self._trials = most, 0
        self._seen: set[str] = set()
        self._baseline = 0.0
        self.worn = False

    def trial_ended(self, workload: str) -> None:
        """Count a trial, and look at the memory that is left after it."""
        self._trials += 1
        held = resident_mb()
        if workload not in self._seen:
            self._seen.add(workload)
            self._baseline = held
        elif held > (1.0 + SLACK) * self._baseline or _uses_gpu():
            tidy()
            held = resident_mb()
        self.worn = self.worn or self._trials >= self._most or held > (1.0 + GROWTH) * self._baseline


def _uses_gpu() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]  # torch leaves it unannotated


def tidy() -> None:
    """Free what only reference cycles hold, and give free memory back: of the host, and of the device.

    The allocators of C and of CUDA keep what was freed for the next time, so that another process cannot have it.
    """
    gc.collect()
    if _uses_gpu():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)
