"""ConR: features of samples that the model takes for alike, though their labels are not, are pushed apart."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from workloads.hparams import Declared, Float
from workloads.seam import Method, Step


def masked_logsumexp(values: Tensor, held: Tensor) -> Tensor:
    """log Σ exp over the held entries of every row, `[m]`; 0 for a row without any, with a gradient of 0."""
    top = torch.where(held, values, -torch.inf).amax(1, keepdim=True).detach()
    top = torch.where(top.isfinite(), top, 0.0)
    total = torch.where(held, (values - top).clamp(max=0.0).exp(), 0.0).sum(1)
    return torch.where(held.any(1), total, 1.0).log() + top.squeeze(1)


def conr_loss(
    z: Tensor,
    y: Tensor,
    pred: Tensor,
    weight: Tensor,
    near: float = 1.0,
    temperature: float = 0.2,
    push: float = 0.01,
) -> Tensor:
    """The contrast of features `[m, D]`, labels, predictions and weights `[m]`; a scalar.

        P_i = {j ≠ i : |y_i − y_j| ≤ ω},   N_i = {j : |y_i − y_j| > ω and |pred_i − pred_j| ≤ ω}
        ℓ_i = −1/|P_i| Σ_{j∈P_i} log( e^{s_ij} / (Σ_{k∈P_i} e^{s_ik} + Σ_{k∈N_i} η_i e^{p·|y_i − y_k|} e^{s_ik}) )
        mean_i η_i ℓ_i,   s_ij = cos(z_i, z_j) / t

    ω = `near`, t = `temperature`, p = `push`, η = `weight`. ℓ_i = 0 where P_i or N_i is empty.
    """
    apart = (y[:, None] - y[None, :]).abs()
    itself = torch.eye(len(y), dtype=torch.bool, device=y.device)
    same = (apart <= near) & ~itself
    confused = (apart > near) & ((pred[:, None] - pred[None, :]).abs() <= near)
    unit = normalize(z, dim=1)
    alike = unit @ unit.T / temperature
    total = torch.logaddexp(
        masked_logsumexp(alike, same), weight.log() + masked_logsumexp(alike + push * apart, confused)
    )
    mean = torch.where(same, alike, 0.0).sum(1) / same.sum(1).clamp(min=1)
    return (weight * torch.where(same.any(1) & confused.any(1), total - mean, 0.0)).mean()


class ConR(Method):
    """Push apart features of samples whose predictions are near and labels are not, and draw near labels together.

        penalty = weight · mean_i w_i ℓ_i
        ℓ_i = −1/|P_i| Σ_{j∈P_i} log( e^{s_ij} / (Σ_{k∈P_i} e^{s_ik} + Σ_{k∈N_i} w_i e^{p·|y_i − y_k|} e^{s_ik}) )

    P_i are the other samples with a label within ω of y_i, N_i those whose label is further away and whose prediction
    is not; s = cos(z_i, z_j) / t; w are the weights of the recipe's methods (1 without). ℓ_i = 0 where either set is
    empty. Both views of a batch take part where the workload augments its inputs, else the batch alone.

    Defaults are the published ones for ages: ω = 1 year, weight 4, p = 0.01, t = 0.2 of the command (its code for AgeDB
    overwrites it with 0.07). The published code adds e⁰ to the sum over P_i for every sample that is not in it; the
    base loss there is of a third augmented batch, here of the first view.
    """

    source: ClassVar[str] = "Keramati et al., ICLR 2024, arXiv:2309.06651"
    note: ClassVar[str] = "reference code CC BY-NC-SA 4.0, not used here"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    dense: ClassVar[bool] = False
    batch_matters: bool = True
    needs_rows: ClassVar[str] = "needs all pairs of a batch"

    class Hparams(Declared):
        """`near`: ω in labels as they are learnt; `temperature`: t; `push`: p per label unit."""

        weight: Annotated[float, Float(1e-2, 1e2, log=True)] = 4.0
        near: Annotated[float, Float(1e-3, 50.0, log=True)] = 1.0
        temperature: Annotated[float, Float(0.02, 2.0, log=True)] = 0.2
        push: Annotated[float, Float(0.0, 1.0, tune=False)] = 0.01

    hparams: Hparams

    def penalty(self, step: Step) -> Tensor | None:
        """The weighted contrast, a scalar; None where nothing of it can be learned."""
        if not step.z.requires_grad:
            return None
        p = self.hparams
        other = step.again() if step.again else None
        views = [(step.z, step.pred), *([(other.z, other.pred)] if other else [])]
        z, pred = (torch.cat([view[at] for view in views]) for at in (0, 1))
        y = step.batch.y.repeat(len(views))
        w = torch.as_tensor(step.w, device=y.device, dtype=y.dtype).expand(step.batch.y.shape).repeat(len(views))
        with torch.autocast(z.device.type, enabled=False):
            z = z.to(torch.promote_types(z.dtype, torch.float32))
            return p.weight * conr_loss(z, y, pred.detach(), w, p.near, p.temperature, p.push)
