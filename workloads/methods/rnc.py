"""Rank-N-Contrast: features are ranked by distance as their labels are."""

from typing import Annotated, ClassVar

from torch import Tensor

from workloads.contrast import contrasted
from workloads.distances import pairwise
from workloads.hparams import Declared, Float
from workloads.seam import Method, Step


class RnC(Method):
    """Contrast every pair of samples with all pairs whose labels are at least as far apart.

        penalty = weight · −1/(m(m−1)) Σ_i Σ_{j≠i} log( e^{s_ij} / Σ_{k≠i, d_ik ≥ d_ij} e^{s_ik} )
        s_ij = −‖z_i − z_j‖₂ / t,   d_ij = |y_i − y_j|

    over the m = 2B features of both views where the workload augments its inputs, else over the batch. Features are the
    encoder's as they are, neither projected nor normalised. t = 2 is published.

    In the paper it trains the encoder alone, and then a linear head on it, frozen: `l1 + rnc + two_stages` with
    `two_stages.first: none`, `trains: head` and `fresh_head: true` (400 epochs, SGD at 0.5 with a cosine; then 100, SGD
    at 0.05). As a penalty beside the base loss it is ours, and so is the default of `weight`.
    """

    source: ClassVar[str] = "Zha et al., NeurIPS 2023, arXiv:2210.01189"
    note: ClassVar[str] = "reference code without a licence, not used here"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    dense: ClassVar[bool] = False
    batch_matters: bool = True
    needs_rows: ClassVar[str] = "needs all pairs of a batch"

    class Hparams(Declared):
        """`weight` per unit of the objective's loss; `temperature`: t."""

        weight: Annotated[float, Float(1e-2, 1e2, log=True)] = 1.0
        temperature: Annotated[float, Float(0.1, 20.0, log=True)] = 2.0

    hparams: Hparams

    def penalty(self, step: Step) -> Tensor | None:
        """The weighted contrast, a scalar; None where nothing of it can be learned."""
        loss = contrasted(step, step.batch.y, lambda z: -pairwise(z) / self.hparams.temperature)
        return None if loss is None else self.hparams.weight * loss
