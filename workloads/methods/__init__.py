"""Methods by name, in canonical order."""

from typing import Final

from workloads.methods.distloss import DistLoss
from workloads.methods.fds import FDS
from workloads.methods.lds import LDS
from workloads.methods.ot import OT
from workloads.methods.ranksim import RankSim
from workloads.methods.recalibrate import Affine, AffineOutOfFold, Isotonic
from workloads.methods.reweight import Inverse, SqrtInverse
from workloads.methods.smoter import SMOGN, SmoteR
from workloads.seam import Method

METHODS: Final[dict[str, type[Method]]] = {
    "inv": Inverse,
    "sqinv": SqrtInverse,
    "lds": LDS,
    "fds": FDS,
    "ranksim": RankSim,
    "distloss": DistLoss,
    "ot": OT,
    "smoter": SmoteR,
    "smogn": SMOGN,
    "affine": Affine,
    "isotonic": Isotonic,
    "affine_oof": AffineOutOfFold,
}
