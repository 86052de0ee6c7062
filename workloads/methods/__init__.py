"""Methods by name, in canonical order."""

from typing import Final

from workloads.methods.classbalanced import ClassBalanced
from workloads.methods.cmixup import CMixup
from workloads.methods.conformal import Conformal
from workloads.methods.conr import ConR
from workloads.methods.denseweight import DenseWeight
from workloads.methods.distloss import DistLoss
from workloads.methods.fds import FDS
from workloads.methods.gar import GAR
from workloads.methods.group_contrast import GroupContrast
from workloads.methods.lds import LDS
from workloads.methods.ordinal_entropy import OrdinalEntropy
from workloads.methods.ot import OT
from workloads.methods.ranksim import RankSim
from workloads.methods.recalibrate import Affine, AffineOutOfFold, Isotonic
from workloads.methods.reconstruct import Reconstruct
from workloads.methods.relevant import RelevanceWeights
from workloads.methods.reweight import Inverse, SqrtInverse
from workloads.methods.rnc import RnC
from workloads.methods.sampling import BalancedSampling
from workloads.methods.smoter import SMOGN, SmoteR
from workloads.methods.srl import SRL
from workloads.methods.taunorm import TauNorm
from workloads.methods.vir import VIR
from workloads.seam import Method

METHODS: Final[dict[str, type[Method]]] = {
    "inv": Inverse,
    "sqinv": SqrtInverse,
    "lds": LDS,
    "class_balanced": ClassBalanced,
    "denseweight": DenseWeight,
    "relevance": RelevanceWeights,
    "balanced": BalancedSampling,
    "fds": FDS,
    "vir": VIR,
    "reconstruct": Reconstruct,
    "ranksim": RankSim,
    "ordinal_entropy": OrdinalEntropy,
    "gar": GAR,
    "rnc": RnC,
    "group_contrast": GroupContrast,
    "conr": ConR,
    "srl": SRL,
    "distloss": DistLoss,
    "ot": OT,
    "cmixup": CMixup,
    "smoter": SmoteR,
    "smogn": SMOGN,
    "affine": Affine,
    "isotonic": Isotonic,
    "affine_oof": AffineOutOfFold,
    "conformal": Conformal,
    "tau_norm": TauNorm,
}
