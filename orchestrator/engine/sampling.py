"""What the machine does while a trial runs: a point now and then, few enough to lie beside its record."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from threading import Event, Thread
from typing import Any, Final

import psutil
import torch

from orchestrator.ledger import samples
from orchestrator.ledger.names import Attempt
from orchestrator.ledger.records import now
from orchestrator.ledger.samples import Sample
from orchestrator.storage.store import Store

POINTS: Final = 60
EVERY_S: Final = 1.0
MEGABYTE: Final = 1e6
"""MLflow's."""


class Points:
    """At most POINTS samples: where there would be more, every other one goes, and further ones come half as often."""

    def __init__(self, earlier: Iterable[Sample] = ()) -> None:
        self.kept = list(earlier)
        first = [at for at, _ in self.kept[:2]]
        self.every_s = max(EVERY_S, (first[1] - first[0]).total_seconds()) if len(first) == 2 else EVERY_S

    def add(self, at: datetime, seen: dict[str, float]) -> None:
        """Keep a sample."""
        self.kept.append((at, seen))
        if len(self.kept) > POINTS:
            del self.kept[1::2]
            self.every_s *= 2


class Machine:
    """The machine, this process, and the GPUs that it sees where NVIDIA's library is installed, in MLflow's names.

    Shares of the processor are those since the last look of the same thread.
    """

    def __init__(self, device: torch.device) -> None:
        self._process = psutil.Process()
        self._gpus = Gpus() if device.type == "cuda" else None

    def seen(self) -> dict[str, float]:
        """Values by name; of the process, its share of one core and its resident memory."""
        memory = psutil.virtual_memory()
        return {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / MEGABYTE,
            "system_memory_usage_percentage": 100.0 * memory.used / memory.total,
            "process_cpu_utilization_percentage": self._process.cpu_percent(),
            "process_memory_usage_megabytes": self._process.memory_info().rss / MEGABYTE,
            **(self._gpus.seen() if self._gpus is not None else {}),
        }


class Gpus:
    """GPUs of this process by NVIDIA's library; none where it is not installed, or has no access."""

    def __init__(self) -> None:
        self._library: Any = None
        self._handles: list[Any] = []
        with suppress(ImportError):
            import pynvml

            self._library = pynvml
            with suppress(pynvml.NVMLError):
                pynvml.nvmlInit()
                # It counts all GPUs of the machine, and torch those of this process.
                names = [f"GPU-{torch.cuda.get_device_properties(k).uuid}" for k in range(torch.cuda.device_count())]
                self._handles = [pynvml.nvmlDeviceGetHandleByUUID(name) for name in names]

    def seen(self) -> dict[str, float]:
        """Values by name, without those that a GPU does not tell."""
        found: dict[str, float] = {}
        for number, handle in enumerate(self._handles):
            for read in (self._memory, self._utilization, self._power):
                with suppress(self._library.NVMLError):
                    found |= {f"gpu_{number}_{name}": float(value) for name, value in read(handle).items()}
        return found

    def _memory(self, handle: Any) -> dict[str, float]:
        memory = self._library.nvmlDeviceGetMemoryInfo(handle)
        return {
            "memory_usage_megabytes": memory.used / MEGABYTE,
            "memory_usage_percentage": 100.0 * memory.used / memory.total,
        }

    def _utilization(self, handle: Any) -> dict[str, float]:
        return {"utilization_percentage": self._library.nvmlDeviceGetUtilizationRates(handle).gpu}

    def _power(self, handle: Any) -> dict[str, float]:
        return {"power_usage_watts": self._library.nvmlDeviceGetPowerUsage(handle) / 1000.0}


@contextmanager
def sampling(store: Store | None, attempt: Attempt, device: torch.device) -> Iterator[Callable[[], None]]:
    """Sample in a thread of its own while this lasts; gives what ends it and keeps the samples in the storage.

    An attempt that goes on after a pause adds to those of its earlier stretches. Without a store, nothing is sampled.
    """
    if store is None:
        yield lambda: None
        return
    points, machine, ended = Points(samples.find(store, attempt)), Machine(device), Event()

    def watch() -> None:
        machine.seen()  # shares of the processor begin here
        over = False
        while not over:
            over = ended.wait(points.every_s)
            points.add(now(), machine.seen())

    thread = Thread(target=watch, name="sampling", daemon=True)

    def end() -> None:
        ended.set()
        thread.join()

    def keep() -> None:
        end()
        samples.write(store, attempt, points.kept)

    thread.start()
    try:
        yield keep
    finally:
        end()
