"""Gradient aligned regression: differences between predictions should be those between labels."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from workloads.hparams import Declared, Float
from workloads.seam import Method, Step


def difference_loss(pred: Tensor, y: Tensor) -> Tensor:
    """Mean over all pairs of ((pred_i − pred_j) − (y_i − y_j))², a scalar, in time that grows with B only.

    = 2 Var(pred − y)
    """
    return 2.0 * (pred - y).var(correction=0)


def correlation_loss(pred: Tensor, y: Tensor) -> Tensor:
    """1 − the Pearson correlation of predictions and labels `[B]`, a scalar.

    1, without a gradient, where predictions or labels are all equal: the correlation is not defined there.
    """
    p, t = pred - pred.mean(), y - y.mean()
    squares = p.square().sum() * t.square().sum()
    # The mean of equal values may be rounded, and they would seem to differ: so their range is looked at as well.
    flat = (squares == 0) | (pred.max() == pred.min()) | (y.max() == y.min())
    # The root is taken of 1 there: its slope at 0 is infinite, and autograd multiplies it by 0 even behind `where`.
    return 1.0 - torch.where(flat, 0.0, (p * t).sum() / torch.where(flat, 1.0, squares).sqrt())


class GAR(Method):
    """Penalise differences between predictions that are not those between labels, in size and in direction.

        penalty = weight · mean_ij ((pred_i − pred_j) − (y_i − y_j))²  +  shape · (1 − corr(pred, y))

    over all pairs of the batch: 2 Var(pred − y) and the Pearson correlation, so it costs no more than the loss itself.
    The first is in squared label units, the second has none. The paper adds both to the base loss by a weighting that
    looks at their size; here each has a weight of its own, whose default is ours.
    """

    source: ClassVar[str] = "Zhu et al., ICML 2025, arXiv:2402.06104"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    batch_matters: bool = True

    class Hparams(Declared):
        """`weight` per squared unit of labels as they are learnt; `shape` per unit of the objective's loss."""

        weight: Annotated[float, Float(1e-3, 1e2, log=True)] = 0.1
        shape: Annotated[float, Float(1e-3, 1e2, log=True)] = 1.0

    hparams: Hparams

    def penalty(self, step: Step) -> Tensor:
        """The weighted sum of both, a scalar."""
        pred, y = step.pred.flatten(), step.batch.y.flatten()
        return self.hparams.weight * difference_loss(pred, y) + self.hparams.shape * correlation_loss(pred, y)
