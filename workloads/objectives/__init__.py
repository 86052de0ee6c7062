"""Objectives by name, in canonical order."""

from typing import Final

from workloads.objectives.bmse import BalancedMSE
from workloads.objectives.classes import ARB, CrossEntropy
from workloads.objectives.pointwise import L1, MSE, FocalL1, FocalMSE, Huber
from workloads.seam import Objective

OBJECTIVES: Final[dict[str, type[Objective]]] = {
    "l1": L1,
    "mse": MSE,
    "huber": Huber,
    "focal_l1": FocalL1,
    "focal_mse": FocalMSE,
    "bmse": BalancedMSE,
    "cross_entropy": CrossEntropy,
    "arb": ARB,
}
