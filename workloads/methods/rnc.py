"""Rank-N-Contrast: features are ranked by distance as their labels are."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from workloads.distances import pairwise
from workloads.hparams import Declared, Float
from workloads.seam import Method, Step


def rnc_loss(z: Tensor, y: Tensor, temperature: float = 2.0) -> Tensor:
    """Rank-N-Contrast of features `[m, D]` and labels `[m]`, a scalar; 0 for fewer than three samples.

        −1/(m(m−1)) Σ_i Σ_{j≠i} log( e^{s_ij} / Σ_{k≠i, d_ik ≥ d_ij} e^{s_ik} ),   s_ij = −‖z_i − z_j‖ / t

    d = distances of labels; the sum has j itself and all that are as far. Each row is sorted by d, so that the sums are
    one running log-sum-exp, read off at the last of every group of ties: O(m² log m) time, O(m²) memory.
    """
    m = len(y)
    if m < 2:
        return z.flatten()[:0].sum()
    others = torch.arange(m - 1, device=z.device).expand(m, -1)
    others = others + (others >= torch.arange(m, device=z.device)[:, None]).long()  # all columns but the own
    apart = (y[:, None] - y[None, :]).abs().gather(1, others)
    alike = (-pairwise(z) / temperature).gather(1, others)
    apart, order = apart.sort(dim=1, descending=True)
    alike = alike.gather(1, order)
    at_least = alike.logcumsumexp(1)
    # The last place of the group of ties that a place is in: how many are at least as far, less one.
    last = torch.searchsorted(-apart, -apart, right=True) - 1
    return (at_least.gather(1, last) - alike).sum() / (m * (m - 1))


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
        if not step.z.requires_grad:
            return None
        views = [step.z, *([step.again().z] if step.again else [])]
        z = torch.cat(views)
        with torch.autocast(z.device.type, enabled=False):
            z = z.to(torch.promote_types(z.dtype, torch.float32))
            return self.hparams.weight * rnc_loss(z, step.batch.y.repeat(len(views)), self.hparams.temperature)
