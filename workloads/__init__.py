"""What is trained: workloads, objectives, methods and plans. Knows torch, and nothing of Ray, MLflow or S3."""

from typing import Final

from workloads.data import cifar, digits, faces, modelnet, nhanes, photos, sst
from workloads.workload import Workload

WORKLOADS: Final[dict[str, Workload]] = {
    workload.name: workload
    for workload in (
        *nhanes.WORKLOADS,
        *faces.WORKLOADS,
        *digits.WORKLOADS,
        *cifar.WORKLOADS,
        *sst.WORKLOADS,
        *modelnet.WORKLOADS,
        *photos.WORKLOADS,
    )
}
"""Every workload by name."""
