"""A contrast of pairs that ranks them by the distance of their labels."""

from collections.abc import Callable

import torch
from torch import Tensor

from workloads.seam import Step


def contrasted(step: Step, labels: Tensor, alike: Callable[[Tensor], Tensor]) -> Tensor | None:
    """The contrast of a batch with labels `[B]`, a scalar; None where no feature can be learned.

    `alike` makes similarities `[m, m]` of features `[m, D]`: those of both views where there are two, so that m = 2B.
    """
    if not step.z.requires_grad:
        return None
    views = [step.z, *([step.again().z] if step.again else [])]
    z = torch.cat(views)
    with torch.autocast(z.device.type, enabled=False):
        z = z.to(torch.promote_types(z.dtype, torch.float32))
        return rnc_loss(alike(z), labels.repeat(len(views)))


def rnc_loss(alike: Tensor, y: Tensor) -> Tensor:
    """Rank-N-Contrast of similarities s `[m, m]` and labels `[m]`, a scalar; 0 for fewer than three samples.

        −1/(m(m−1)) Σ_i Σ_{j≠i} log( e^{s_ij} / Σ_{k≠i, d_ik ≥ d_ij} e^{s_ik} ),   d_ij = |y_i − y_j|

    The sum has j itself and all that are as far. Each row is sorted by d, so that the sums are one running log-sum-exp,
    read off at the last of every group of ties: O(m² log m) time, O(m²) memory. A sample's similarity to itself is not
    looked at. Source: Zha et al., NeurIPS 2023, arXiv:2210.01189.
    """
    m = len(y)
    if m < 2:
        return alike.flatten()[:0].sum()
    others = torch.arange(m - 1, device=alike.device).expand(m, -1)
    others = others + (others >= torch.arange(m, device=alike.device)[:, None]).long()  # all columns but the own
    apart = (y[:, None] - y[None, :]).abs().gather(1, others)
    alike = alike.gather(1, others)
    apart, order = apart.sort(dim=1, descending=True)
    alike = alike.gather(1, order)
    at_least = alike.logcumsumexp(1)
    # The last place of the group of ties that a place is in: how many are at least as far, less one.
    last = torch.searchsorted(-apart, -apart, right=True) - 1
    return (at_least.gather(1, last) - alike).sum() / (m * (m - 1))
