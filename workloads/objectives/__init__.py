"""Objectives by name, in canonical order."""

from typing import Final

from workloads.objectives.adjusted import LogitAdjusted, VectorScaling
from workloads.objectives.bmse import BalancedMSE
from workloads.objectives.boosting import Boosting
from workloads.objectives.classes import ARB, CrossEntropy
from workloads.objectives.evidential import Evidential
from workloads.objectives.grc import GRC
from workloads.objectives.histogram import BalancedHLGauss, HLGauss
from workloads.objectives.ldam import LDAM
from workloads.objectives.likelihood import BetaNLL, GaussianNLL, LaplaceNLL
from workloads.objectives.pointwise import L1, MSE, FocalL1, FocalMSE, Huber
from workloads.objectives.quantile import Quantile
from workloads.objectives.uvote import UVOTE
from workloads.objectives.vir import PseudoCounts
from workloads.seam import Objective

OBJECTIVES: Final[dict[str, type[Objective]]] = {
    "l1": L1,
    "mse": MSE,
    "huber": Huber,
    "focal_l1": FocalL1,
    "focal_mse": FocalMSE,
    "quantile": Quantile,
    "bmse": BalancedMSE,
    "laplace_nll": LaplaceNLL,
    "gaussian_nll": GaussianNLL,
    "beta_nll": BetaNLL,
    "evidential": Evidential,
    "pseudo_counts": PseudoCounts,
    "uvote": UVOTE,
    "hl_gauss": HLGauss,
    "balanced_hl_gauss": BalancedHLGauss,
    "grc": GRC,
    "boosting": Boosting,
    "cross_entropy": CrossEntropy,
    "arb": ARB,
    "logit_adjust": LogitAdjusted,
    "vector_scaling": VectorScaling,
    "ldam": LDAM,
}
