"""Objectives by name, in canonical order."""

from typing import Final

from workloads.objectives.pointwise import L1, MSE
from workloads.seam import Objective

OBJECTIVES: Final[dict[str, type[Objective]]] = {
    "l1": L1,
    "mse": MSE,
}
