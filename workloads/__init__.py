"""What is trained: workloads, objectives, methods and plans. Knows torch, and nothing of Ray, MLflow or S3."""

from typing import Final

from workloads.data import cifar, digits, faces, modelnet, nhanes, photos, signals, sst, stsb, vader
from workloads.workload import Workload

WORKLOADS: Final[dict[str, Workload]] = {
    workload.name: workload
    for family in (nhanes, vader, digits, faces, stsb, signals, cifar, sst, modelnet, photos)
    for workload in family.WORKLOADS
}
"""Every workload by name."""
