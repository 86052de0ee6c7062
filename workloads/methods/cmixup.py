"""C-Mixup: interpolation between samples of similar labels."""

from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from workloads.hparams import Declared, Float
from workloads.methods.bins import bin_of
from workloads.seam import Batch, Method, TrainLabels


def mixing_logits(y: Tensor, bandwidth: float) -> Tensor:
    """Logarithm `[B, B]`, up to a constant per row, of the chance with which j is the mate of i.

    p_ij ∝ exp(−(y_i − y_j)² / 2h²)
    """
    return -0.5 * ((y[:, None] - y[None, :]) / bandwidth).square()


class CMixup(Method):
    """Train on interpolations between every sample and a mate that is drawn by the similarity of their labels.

        x = λ x_i + (1 − λ) x_j,   y = λ y_i + (1 − λ) y_j,   j ~ p_ij ∝ exp(−(y_i − y_j)² / 2h²),   λ ~ Beta(a, a)

    A sample may be its own mate. λ is drawn for every sample. Mates are drawn from the batch: the published code can
    draw them from the whole training set, by a matrix of N × N chances. A mixed row has the index of its sample i.
    Inputs are mixed, not features, so they must be real numbers.

    h is in labels as they are learnt (in bins, or label units). Published are a = 2 (1.5 on one data set), and from
    0.05 to 50 for h by data set, 1 where nothing is said.
    """

    source: ClassVar[str] = "Yao et al., NeurIPS 2022, arXiv:2210.05775"
    note: ClassVar[str] = "reference code MIT"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    dense: ClassVar[bool] = False
    batch_matters: bool = True

    class Hparams(Declared):
        """`bandwidth`: h; `alpha`: a, both shapes of the Beta distribution."""

        bandwidth: Annotated[float, Float(0.05, 50.0, log=True)] = 1.0
        alpha: Annotated[float, Float(0.1, 10.0, log=True)] = 2.0

    hparams: Hparams
    edges: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Keep the edges of the bins."""
        self.register_buffer("edges", torch.from_numpy(train.grid.edges))

    def augment(self, batch: Batch) -> Batch:
        """The mixed batch, of the same size.

        Raises ValueError for inputs that cannot be interpolated, and for dense targets.
        """
        if not batch.x.is_floating_point() or batch.y.dim() != 1:
            raise ValueError(f"CMixup needs real inputs and one label each: got {batch.x.dtype}, {batch.y.shape}")
        p = self.hparams
        mate = self._drawn(mixing_logits(batch.y, p.bandwidth))
        # torch.distributions draws from the global stream; this is what its Dirichlet calls.
        shape = torch.full((len(mate), 2), p.alpha, device=batch.y.device, dtype=batch.y.dtype)
        share = torch._sample_dirichlet(shape, self.generator)[:, 0]
        y = torch.lerp(batch.y[mate], batch.y, share)
        x = torch.lerp(
            batch.x.index_select(0, mate), batch.x, share.to(batch.x.dtype).view(-1, *[1] * (batch.x.dim() - 1))
        )
        return replace(batch, x=x, y=y, bin=bin_of(y, self.edges))

    def _drawn(self, logits: Tensor) -> Tensor:
        """One place of every row `[B, B]` of logarithms of chances, `[B]`: the largest after Gumbel noise."""
        uniform = torch.rand(logits.shape, device=logits.device, dtype=logits.dtype, generator=self.generator)
        tiny = torch.finfo(logits.dtype).tiny
        return (logits - (-uniform.clamp(min=tiny).log()).log()).argmax(1)
