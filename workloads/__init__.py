"""What is trained: workloads, objectives, methods and plans. Knows torch, and nothing of Ray, MLflow or S3."""

from importlib import import_module
from typing import Final

from workloads.workload import Workload

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
WORKLOADS: Final[dict[str, Workload]] = {
    workload.name: workload for family in FAMILIES for workload in import_module(f"workloads.data.{family}").WORKLOADS
}
"""Every workload by name."""
