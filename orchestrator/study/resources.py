"""What a trial is given of the machines: for all workloads, or for one."""

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from orchestrator.laws import unknown
from orchestrator.study.keys import CPUS, PACK, Count, Model

RECYCLE_AFTER: Final = 500


def _one_at_most(gpus: float) -> float:
    """Raises ValueError above 1: nothing would use the second GPU."""
    if gpus > 1:
        raise ValueError(
            f"resources: gpus must be at most 1, for a trial trains on one GPU or a share of it: got {gpus:g}; several "
            "GPUs train several trials at a time"
        )
    return gpus


Cpus = Annotated[float, Field(gt=0, le=CPUS)]
Gpus = Annotated[float, Field(ge=0), AfterValidator(_one_at_most)]
Accelerator = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]


class Own(Model):
    """What the trials of one workload are given, where that is not what all are given."""

    cpus: Cpus | None = None
    gpus: Gpus | None = None
    accelerator_type: Accelerator | None = None


class Share(Model):
    """What one trial is given."""

    cpus: float
    gpus: float
    accelerator_type: str | None

    @property
    def devices(self) -> float:
        """Devices that count as used while it trains: its share of a GPU, and 1 on a CPU."""
        return self.gpus or 1.0

    def amounts(self) -> dict[str, float]:
        """By Ray's names. A node has one of the type of its accelerator, and a trial takes a trace of it."""
        kind = {f"accelerator_type:{self.accelerator_type}": 0.001} if self.accelerator_type else {}
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {}), **kind}

    def __str__(self) -> str:
        kind = f" of type {self.accelerator_type}" if self.accelerator_type else ""
        return f"{self.cpus:g} CPUs and {self.gpus:g} GPUs{kind}"


class Resources(Model):
    """What one trial is given: `cpus`, and a GPU, a share of one (0.5) or none; other values `of` single workloads.

    `accelerator_type` is Ray's name of a kind of GPU (`A100`, `H100`): only nodes with that kind train. `concurrent`
    bounds the trials that run at once. A worker's process is replaced by a fresh one after `recycle_after` trials, or
    earlier where it holds on to memory. `pack` trials of a light workload are trained in step in one process, and share
    what one is given; each has the numbers that it has by itself.
    """

    cpus: Cpus = 1
    gpus: Gpus = 0
    accelerator_type: Accelerator | None = None
    of: Mapping[str, Own] = {}
    concurrent: Count | None = None
    recycle_after: Count = RECYCLE_AFTER
    pack: Literal["auto", "off"] | Annotated[Count, Field(le=PACK)] = "off"

    later: ClassVar[frozenset[str]] = frozenset({"accelerator_type", "of", "recycle_after", "pack"})

    def share(self, workload: str) -> Share:
        """What a trial of a workload is given."""
        own = self.of.get(workload, Own()).model_dump(exclude_none=True)
        return Share(**{"cpus": self.cpus, "gpus": self.gpus, "accelerator_type": self.accelerator_type, **own})

    def largest(self, workloads: Iterable[str]) -> Share:
        """The most CPUs and the most GPUs that a trial of any of these workloads is given."""
        shares = [self.share(workload) for workload in workloads]
        return Share(cpus=max(s.cpus for s in shares), gpus=max(s.gpus for s in shares), accelerator_type=None)

    def check(self, workloads: Iterable[str]) -> None:
        """Raises ValueError where a workload that the study does not have is given something."""
        names = list(workloads)
        for name in self.of:
            if name not in names:
                raise ValueError(unknown(name, names, "resources.of", "workload"))
