"""What is trained: workloads, objectives, methods and plans. Knows torch, and nothing of Ray, MLflow or S3."""

from typing import Final

from workloads.data import faces, nhanes, signals, stsb, vader
from workloads.workload import Workload

WORKLOADS: Final[dict[str, Workload]] = {
    workload.name: workload
    for family in (nhanes.WORKLOADS, faces.WORKLOADS, stsb.WORKLOADS, vader.WORKLOADS, signals.WORKLOADS)
    for workload in family
}
"""Every workload by name."""
