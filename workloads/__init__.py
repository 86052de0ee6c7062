"""What is trained: workloads, objectives, methods and plans. Knows torch, and nothing of Ray, MLflow or S3."""

from typing import Final

from workloads.data import (
    ade20k,
    cifar,
    digits,
    faces,
    modelnet,
    nhanes,
    nyud2,
    photos,
    signals,
    sst,
    stereo,
    stsb,
    vader,
)
from workloads.workload import Workload

WORKLOADS: Final[dict[str, Workload]] = {
    workload.name: workload
    for family in (nhanes, vader, digits, faces, stsb, signals, cifar, sst, modelnet, photos, stereo, nyud2, ade20k)
    for workload in family.WORKLOADS
}
"""Every workload by name."""
