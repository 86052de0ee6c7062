"""Reconstruction: features keep what a small decoder needs to give the inputs back."""

from typing import Annotated, ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from workloads.hparams import Declared, Float, Int
from workloads.seam import Method, Step, TrainLabels

MOST: Final = 1 << 14
"""Numbers of a row of inputs at most: five images of 32 px. A dense layer for more would outweigh the encoder."""
SAMPLED: Final = 1024
"""Training rows, evenly spaced, from which the inputs are standardised."""


class Reconstruct(Method):
    """Give the inputs back from the features: what they hold beside the label is kept.

        penalty = λ₂ · mean_i mean_k (x'_ik − decoder(h_i)_k)²,   x' = (x − m) / s,   decoder = linear, ReLU, linear

    x_i are the inputs of a row as the encoder sees them, augmented and flat; of pairs, both. m `[F]` are their means,
    and s² is the mean of their variances, one for all entries: columns are scaled by the readers, pixels share a unit.
    So a decoder that knows the means alone has the penalty λ₂. h are the features that the head sees, with `vir` the
    draw. In the first stage of a plan that has no objective, it trains an autoencoder. Words, and rows of more than
    16,384 numbers, are refused.

    λ₂ = 0.7 is published. The decoder, with one layer of `hidden`, and the scale of x' are ours: the paper's are for
    images. `pseudo_counts + lds + vir + reconstruct` is variational imbalanced regression with all of its terms.
    """

    source: ClassVar[str] = "Wang & Wang, NeurIPS 2023, arXiv:2306.06599"
    note: ClassVar[str] = "reference code without a licence, not used here"
    dense: ClassVar[bool] = False
    needs_rows: ClassVar[str] = "gives the inputs of a row back from its features"

    class Hparams(Declared):
        """`weight`: λ₂, per unit of the objective's loss; `hidden`: width of the decoder."""

        weight: Annotated[float, Float(1e-3, 1e2, log=True)] = 0.7
        hidden: Annotated[int, Int(1, 4096, tune=False)] = 128

    hparams: Hparams
    mean: Tensor
    scale: Tensor

    @staticmethod
    def refuses(x: Tensor) -> str:
        """Words, and rows of too many numbers."""
        if x.dtype.is_floating_point or x.dtype == torch.uint8:
            size = x[0].numel()
            if size <= MOST:
                return ""
            found = f"this workload's have {size:,}"
        else:
            found = "this workload's are numbers of words"
        return (
            f"gives rows of at most {MOST:,} measured values back, and {found}: take frozen features, or leave it out"
        )

    def fit(self, train: TrainLabels) -> None:
        """Size the decoder `[D]` to `[F]`, and standardise its targets."""
        if train.inputs is None:
            raise ValueError("reconstruct reads training inputs: got labels alone; give `inputs` to TrainLabels")
        rows = torch.linspace(0, len(train.y) - 1, min(len(train.y), SAMPLED), dtype=torch.float64).round().long()
        x = train.inputs(rows).flatten(1).double()
        hidden = self.hparams.hidden
        self.decoder = nn.Sequential(nn.Linear(train.dim, hidden), nn.ReLU(), nn.Linear(hidden, x.shape[1]))
        scale = x.var(0, correction=0).mean().sqrt()
        self.register_buffer("mean", x.mean(0).float())
        self.register_buffer("scale", torch.where(scale > 0, scale, 1.0).float())

    def penalty(self, step: Step) -> Tensor | None:
        """The weighted error, a scalar; None where no feature can be learned."""
        if not step.h.requires_grad:
            return None
        with torch.autocast(step.h.device.type, enabled=False):
            x = (step.batch.x.flatten(1).to(self.mean.dtype) - self.mean) / self.scale
            made = self.decoder(step.h.to(self.mean.dtype))
            rows = x.repeat_interleave(len(made) // len(x), 0)  # the members of an ensemble share a row
            return self.hparams.weight * mse_loss(made, rows)
