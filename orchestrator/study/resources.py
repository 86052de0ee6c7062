"""What a trial is given of the machines: for all workloads, or for one."""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from orchestrator.laws import unknown
from orchestrator.study.keys import CPUS, PACK, Count, Model

RECYCLE_AFTER: Final = 500
MEMBERS: Final = 8
"""Trials of a pack where the study leaves it to us: more gain little, and take longer to end."""


def _whole_above_one(gpus: float) -> float:
    """Raises ValueError for more than one GPU and a share of another."""
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(
            f"resources: gpus must be a share of one GPU or a whole number of GPUs: got {gpus:g}; take {int(gpus)}"
        )
    return gpus


Cpus = Annotated[float, Field(gt=0, le=CPUS)]
Gpus = Annotated[float, Field(ge=0), AfterValidator(_whole_above_one)]
Processes = Annotated[int, Field(strict=True, ge=1, le=PACK)]
Accelerator = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]


class Own(Model):
    """What the trials of one workload are given, where that is not what all are given."""

    cpus: Cpus | None = None
    gpus: Gpus | None = None
    processes: Processes | None = None
    accelerator_type: Accelerator | None = None

    later: ClassVar[frozenset[str]] = frozenset({"processes"})


class Share(Model):
    """What one trial is given."""

    cpus: float
    gpus: float
    accelerator_type: str | None
    asked: int | None = None

    @property
    def processes(self) -> int:
        """How many processes train it: one for each of several GPUs, else as many as are asked for."""
        return self.asked or max(1, int(self.gpus))

    @property
    def devices(self) -> float:
        """Devices that count as used while it trains: GPUs or its share of one, and on CPUs its processes."""
        return self.gpus or float(self.processes)

    def amounts(self) -> dict[str, float]:
        """By Ray's names. A node has one of the type of its accelerator, and a trial takes a trace of it."""
        kind = {f"accelerator_type:{self.accelerator_type}": 0.001} if self.accelerator_type else {}
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {}), **kind}

    def bundles(self) -> list[dict[str, float]]:
        """The same by process: what each is given, the first one being the trial's own."""
        amounts, count = self.amounts(), self.processes
        split: dict[str, float] = {name: amounts[name] / count for name in ("CPU", "GPU") if name in amounts}
        if count > 1:  # Ray counts in steps of 0.0001, and the sum must fit where the whole does
            split["CPU"] = max(0.0001, math.floor(split["CPU"] * 10_000) / 10_000)
        return [{**amounts, **split}, *[split] * (count - 1)]

    def __str__(self) -> str:
        kind = f" of type {self.accelerator_type}" if self.accelerator_type else ""
        return f"{self.cpus:g} CPUs and {self.gpus:g} GPUs{kind}"

    def check(self, workload: str) -> None:
        """Raises ValueError where processes would share a GPU, or have several each."""
        if self.gpus and max(self.gpus, self.processes) > 1 and self.processes != self.gpus:
            raise ValueError(
                f"the processes of a trial have a GPU each: got {self.processes} processes and {self.gpus:g} GPUs for "
                f"{workload}; leave resources.processes out, or set resources.gpus to the same or to 0"
            )


class Resources(Model):
    """What one trial is given: `cpus`, and GPUs, a share of one (0.5) or none; other values `of` single workloads.

    Several GPUs train a trial in as many processes, and `processes` are as many on CPUs, each with its part of them.
    `accelerator_type` is Ray's name of a kind of GPU (`A100`, `H100`): only nodes with that kind train. `concurrent`
    bounds the trials that run at once. A worker's process is replaced by a fresh one after `recycle_after` trials, or
    earlier where it holds on to memory. `pack` trials of a light workload are trained in step in one process, and share
    what one is given; each has the numbers that it has by itself. `auto` leaves to us where, and how many.
    """

    cpus: Cpus = 1
    gpus: Gpus = 0
    processes: Processes | None = None
    accelerator_type: Accelerator | None = None
    of: Mapping[str, Own] = {}
    concurrent: Count | None = None
    recycle_after: Count = RECYCLE_AFTER
    pack: Literal["auto", "off"] | Annotated[Count, Field(le=PACK)] = "auto"

    later: ClassVar[frozenset[str]] = frozenset({"processes", "accelerator_type", "of", "recycle_after", "pack"})

    def share(self, workload: str) -> Share:
        """What a trial of a workload is given."""
        own = {name: given for name, given in self.of.get(workload, Own()) if given is not None}
        cpus, gpus, asked, kind = (
            own.get(name, getattr(self, name)) for name in ("cpus", "gpus", "processes", "accelerator_type")
        )
        return Share(cpus=cpus, gpus=gpus, accelerator_type=kind, asked=asked)

    def members(self, workload: str, light: bool) -> int:
        """The most trials of a workload, which is light or not, that one process trains in step."""
        if self.pack == "off" or not light or self.share(workload).processes > 1:
            return 1
        return MEMBERS if self.pack == "auto" else self.pack

    def largest(self, workloads: Iterable[str]) -> Share:
        """The most CPUs, GPUs and processes that a trial of any of these workloads is given."""
        shares = [self.share(workload) for workload in workloads]
        return Share(
            cpus=max(share.cpus for share in shares),
            gpus=max(share.gpus for share in shares),
            accelerator_type=None,
            asked=max(share.processes for share in shares),
        )

    def check(self, workloads: Iterable[str]) -> None:
        """Raises ValueError where a workload that the study does not have is given something."""
        names = list(workloads)
        for name in self.of:
            if name not in names:
                raise ValueError(unknown(name, names, "resources.of", "workload"))
        for name in names:
            self.share(name).check(name)
