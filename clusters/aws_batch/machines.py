"""Whether machines of a compute environment can hold a container, and why one waits: in words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clusters.aws_batch.requests import BatchOptions

SPOT = frozenset({"SPOT", "FARGATE_SPOT"})
FARGATE = frozenset({"FARGATE", "FARGATE_SPOT"})


@dataclass(frozen=True)
class Machine:
    """An instance type."""

    name: str
    vcpus: int
    memory_mib: int
    gpus: int

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Machine":
        """From a response of `ec2:DescribeInstanceTypes`."""
        gpus = sum(gpu["Count"] for gpu in found.get("GpuInfo", {}).get("Gpus", ()))
        return cls(found["InstanceType"], found["VCpuInfo"]["DefaultVCpus"], found["MemoryInfo"]["SizeInMiB"], gpus)

    def holds(self, options: BatchOptions) -> bool:
        """Whether a container fits; a container cannot have all memory: the system and the agent need theirs."""
        fits = self.vcpus >= options.vcpus and self.gpus >= options.gpus
        return fits and self.memory_mib > options.memory_mib


def misfits(options: BatchOptions, environment: Mapping[str, Any], machines: Sequence[Machine] | None) -> Iterator[str]:
    """Why a compute environment can never run a container; `machines` are its instance types, None where unknown."""
    if (environment["state"], environment["status"]) != ("ENABLED", "VALID"):
        why = environment.get("statusReason", "")
        yield f"it is {environment['state']} and {environment['status']}{f': {why}' if why else ''}"
    resources = environment.get("computeResources", {})
    kind = resources.get("type", environment.get("type", "UNMANAGED"))
    if kind in FARGATE:
        yield f"it is {kind}, which has neither GPUs nor the shared memory that Ray needs; take one of EC2 machines"
    if options.multinode and (kind in SPOT or environment.get("type") == "UNMANAGED"):
        yield f"it is {kind}, and multi-node jobs run on managed on-demand machines only; or leave multinode out"
    most, nodes = resources.get("maxvCpus"), options.nodes if options.multinode else 1
    if most is not None and most < nodes * options.vcpus:
        yield f"it grows to {most} vCPUs, and {nodes * options.vcpus} are asked for; raise its maxvCpus"
    names = resources.get("instanceTypes", [])
    if machines is not None and names:
        yield from _no_machine(options, names, machines)


def _no_machine(options: BatchOptions, names: Sequence[str], machines: Sequence[Machine]) -> Iterator[str]:
    if options.multinode:
        machines = [machine for machine in machines if machine.name == options.instance_type]
        if not machines:
            yield f"it has no {options.instance_type}: its types are {', '.join(names)}"
            return
    if any(machine.holds(options) for machine in machines):
        return
    if not machines:
        yield f"AWS knows none of its types {', '.join(names)} in this region"
    elif options.gpus and not any(machine.gpus for machine in machines):
        yield f"{options.gpus} GPUs are asked for, and its types have none: {', '.join(names)}"
    else:
        top = max(machines, key=lambda machine: (machine.gpus, machine.vcpus, machine.memory_mib))
        asked = f"{options.vcpus} vCPUs, {options.memory_mib} MiB and {options.gpus} GPUs"
        has = f"the largest, {top.name}, has {top.vcpus}, {top.memory_mib} and {top.gpus}"
        yield f"none of its types holds {asked}: {has}, and its system needs some of the memory"


def waiting(options: BatchOptions, environments: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Why a container that fits still waits."""
    for environment in environments:
        resources = environment.get("computeResources", {})
        name, most = environment["computeEnvironmentName"], resources.get("maxvCpus", 0)
        has = resources.get("desiredvCpus", 0)
        if most and has + options.vcpus > most:
            yield f"{name} is full: {has} of {most} vCPUs; it waits for others to end"
        else:
            spot = ", and spot machines are there when nobody pays more" if resources.get("type") in SPOT else ""
            yield f"{name} has {has} of {most} vCPUs and is asked for more: a machine takes minutes to start{spot}"
