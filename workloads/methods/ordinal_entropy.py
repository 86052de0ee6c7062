"""Ordinal entropy: features spread out, in the order of their labels."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from workloads.hparams import Declared, Float
from workloads.seam import Method, Step


def root(squares: Tensor) -> Tensor:
    """Square root, 0 with the gradient 0 where rounding left nothing above 0."""
    hit = squares <= 0
    # The root is taken of 1 there: its slope at 0 is infinite, and autograd multiplies it by 0 even behind `where`.
    return torch.where(hit, 0.0, torch.where(hit, 1.0, squares).sqrt())


def spreading(z: Tensor, y: Tensor) -> Tensor:
    """Minus the mean distance of features `[B, D]`, weighted by the distance of their labels `[B]`; a scalar.

        −mean_{i<j} w_ij ‖z_i − z_j‖,   w_ij = (|y_i − y_j| − min |y_i − y_j|) / max |y_i − y_j|

    0 for a single row, and where all labels are equal.
    """
    n = len(z)
    itself = torch.eye(n, dtype=torch.bool, device=z.device)
    apart = (y[:, None] - y[None, :]).abs()
    least, most = apart.masked_fill(itself, torch.inf).min(), apart.max()
    weight = ((apart - least) / torch.where(most > 0, most, 1.0)).masked_fill(itself, 0.0)
    length = z.square().sum(1)
    distance = root(length[:, None] + length[None, :] - 2.0 * z @ z.T)  # by a product: `cdist` takes ten times as long
    return -(weight * distance).sum() / max(n * (n - 1), 1)


def tightness(z: Tensor, group: Tensor) -> Tensor:
    """Mean distance of features `[B, D]` from the centre of their group, a number in 0 … B − 1 `[B]`; a scalar."""
    size = z.new_zeros(len(z)).index_add(0, group, z.new_ones(len(z)))
    centre = torch.zeros_like(z).index_add(0, group, z) / size.clamp(min=1.0).unsqueeze(1)
    return root((z - centre[group]).square().sum(1)).mean()


def groups(bins: Tensor) -> Tensor:
    """Number of every sample's bin among those of the batch, `[B]`, from 0; how many there are need not be known."""
    ordered, order = bins.sort(stable=True)
    first = torch.zeros_like(ordered)
    first[1:] = ordered[1:] != ordered[:-1]
    return torch.empty_like(bins).index_copy(0, order, first.cumsum(0))


class OrdinalEntropy(Method):
    """Spread features out by the distance of their labels, and draw those of one label together.

        penalty = spread · −mean_{i<j} w_ij ‖ẑ_i − ẑ_j‖  +  tight · mean_i ‖ẑ_i − centre of its label‖

    ẑ = z / ‖z‖, and w_ij = (|y_i − y_j| − min) / max over the pairs of the batch, between 0 and 1. Labels of one bin
    count as one label for the centre, so that real-valued labels have centres too; for whole ages it is the label.
    Neither term has a unit. Their weights of 1 are ours.
    """

    source: ClassVar[str] = "Zhang et al., ICLR 2023, arXiv:2301.08915"
    note: ClassVar[str] = "reference code without a licence, not used here"
    dense: ClassVar[bool] = False

    class Hparams(Declared):
        """`spread` and `tight` per unit of the objective's loss."""

        spread: Annotated[float, Float(1e-3, 1e2, log=True)] = 1.0
        tight: Annotated[float, Float(1e-3, 1e2, log=True)] = 1.0

    hparams: Hparams

    def penalty(self, step: Step) -> Tensor:
        """The weighted sum of both terms, a scalar."""
        z = step.z.flatten(1)
        z = normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
        with torch.autocast(z.device.type, enabled=False):
            apart = spreading(z, step.batch.y)
            return self.hparams.spread * apart + self.hparams.tight * tightness(z, groups(step.batch.bin))
