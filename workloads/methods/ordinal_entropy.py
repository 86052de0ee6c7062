"""Ordinal entropy: features spread out, in the order of their labels."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import normalize

from workloads.distances import pairwise
from workloads.hparams import Declared, Float
from workloads.seam import Method, Step


def spreading(z: Tensor, y: Tensor) -> Tensor:
    """Minus the mean distance of features `[m, D]`, weighted by the distance of their labels `[m]`; a scalar.

        −mean_{a<b} w_ab ‖z_a − z_b‖,   w_ab = (|y_a − y_b| − min |y_a − y_b|) / max |y_a − y_b|

    0 for a single row, and where all labels are equal.
    """
    m = len(z)
    itself = torch.eye(m, dtype=torch.bool, device=z.device)
    apart = (y[:, None] - y[None, :]).abs()
    least, most = apart.masked_fill(itself, torch.inf).min(), apart.max()
    weight = ((apart - least) / torch.where(most > 0, most, 1.0)).masked_fill(itself, 0.0)
    return -(weight * pairwise(z)).sum() / max(m * (m - 1), 1)


def ordinal_entropy(z: Tensor, y: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
    """Spreading of the centres of the labels of a batch, and mean distance of its features from them; two scalars.

    Features `[B, D]`, labels `[B]` and their bins `[B]`: labels of one bin have one centre.
    """
    # Synchronises: the number m of distinct bins decides the size of what follows. With B centres, some of them empty,
    # it would not, but multiply B × B features instead of m × m, 16 times as many at B = 256 and m = 64.
    _, group, size = bins.unique(return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]  # torch
    centre = z.new_zeros(len(size), z.shape[1]).index_add(0, group, z) / size.unsqueeze(1)
    label = y.new_zeros(len(size)).index_add(0, group, y) / size
    tight = vector_norm(z - centre.index_select(0, group), dim=1).mean()  # its gradient at 0 is 0
    return spreading(normalize(centre, dim=1), label), tight


class OrdinalEntropy(Method):
    """Spread out the centres of labels by the distance of the labels, and draw features towards their centre.

        penalty = spread · −mean_{a<b} w_ab ‖ĉ_a − ĉ_b‖  +  tight · mean_i ‖z_i − c_i‖

    c_a = mean of the features of a label in the batch, ĉ = c / ‖c‖, c_i the centre of sample i's label, and
    w_ab = (|y_a − y_b| − min) / max over the pairs of labels, between 0 and 1. Labels of one bin count as one, their
    mean, so that real-valued labels have centres too; whole ages are what they are. Both weights of 1 are ours.
    """

    source: ClassVar[str] = "Zhang et al., ICLR 2023, arXiv:2301.08915"
    note: ClassVar[str] = "reference code without a licence, not used here"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    dense: ClassVar[bool] = False
    batch_matters: bool = True

    class Hparams(Declared):
        """`spread` and `tight` per unit of the objective's loss."""

        spread: Annotated[float, Float(1e-3, 1e2, log=True)] = 1.0
        tight: Annotated[float, Float(1e-3, 1e2, log=True)] = 1.0

    hparams: Hparams

    def penalty(self, step: Step) -> Tensor:
        """The weighted sum of both terms, a scalar."""
        z = step.z.flatten(1)
        with torch.autocast(z.device.type, enabled=False):
            z = z.to(torch.promote_types(z.dtype, torch.float32))
            spread, tight = ordinal_entropy(z, step.batch.y, step.batch.bin)
            return self.hparams.spread * spread + self.hparams.tight * tight
