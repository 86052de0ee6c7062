"""Synthetic rare samples: SmoteR and SMOGN, inside the batch."""

from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from workloads.hparams import Declared, Float, Int
from workloads.labels import Ints
from workloads.methods.bins import bin_of
from workloads.seam import Batch, Method, TrainLabels


def rare_bins(counts: Ints, share: float) -> torch.Tensor:
    """Which bins `[M]` are rare: the least populated ones that together hold at most `share` of the training rows.

    Bins of one count stay together. The rarest bin is always rare, unless all bins are equally full.
    """
    filled = np.unique(counts[counts > 0])
    held = np.array([counts[(counts > 0) & (counts <= n)].sum() for n in filled])
    within = filled[:-1][held[:-1] <= share * counts.sum()]
    limit = within[-1] if len(within) else (filled[0] if len(filled) > 1 else 0)
    return torch.from_numpy((counts > 0) & (counts <= limit))


class SmoteR(Method):
    """Replace some common samples of a batch by interpolations of rare ones.

        x = x_i + u (x_j − x_i),   y = (d_j y_i + d_i y_j) / (d_i + d_j) = y_i + u (y_j − y_i),   u ~ U(0, 1)

    i is a random rare sample of the batch, j one of its k nearest rare neighbours there (Euclidean distance of the
    inputs), d the distances from x. A sample is rare if its bin is among the least populated ones that hold at most
    `rare` of the training rows. A batch without rare samples stays as it is; one with a single rare sample repeats it.

    The original makes its samples once, from the whole training set, by a relevance function of the label; no code for
    the deep version is published. Working in the batch needs no second pass over images or signals, and bins instead
    of the relevance function need no assumption on where the rare labels are. All defaults are ours, but k = 5.
    """

    source: ClassVar[str] = "Torgo et al., EPIA 2013, with interpolation in input space as in Yang et al., ICML 2021"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    dense: ClassVar[bool] = False
    batch_matters: bool = True
    version: ClassVar[int] = 2  # 2: drawn by random keys

    class Hparams(Declared):
        """`rare`: share of training rows; `replaced`: share of the batch; `neighbours`: k."""

        rare: Annotated[float, Float(0.01, 0.5, log=True)] = 0.1
        replaced: Annotated[float, Float(0.02, 0.5)] = 0.2
        neighbours: Annotated[int, Int(1, 15)] = 5

    hparams: Hparams
    edges: Tensor
    rare: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Find the rare bins, `[M]`."""
        self.register_buffer("edges", torch.from_numpy(train.grid.edges))
        self.register_buffer("rare", rare_bins(train.counts, self.hparams.rare))

    def augment(self, batch: Batch) -> Batch:
        """The batch with synthetic rows in place of common ones; a synthetic row has the index of its seed i.

        Raises ValueError for inputs that cannot be interpolated, and for dense targets.
        """
        if not batch.x.is_floating_point() or batch.y.dim() != 1:
            raise ValueError(
                f"{type(self).__name__} needs real inputs and one label each: got {batch.x.dtype}, {batch.y.shape}"
            )
        size = len(batch.y)
        made = round(self.hparams.replaced * size)
        if made == 0:
            return batch
        rare = self.rare[batch.bin]
        # Sizes do not depend on how many samples are rare, so nothing waits for the device: where none is rare, a
        # drawn seed is a common sample, and the last line keeps the row as it was.
        seed = self._drawn(rare.expand(made, -1), 1).squeeze(1)
        place = self._drawn(~rare, made)
        flat = batch.x.flatten(1)
        apart = torch.cdist(flat[seed], flat)
        other = rare & (torch.arange(size, device=rare.device) != seed[:, None])
        near = apart.masked_fill(~other, torch.inf).topk(min(self.hparams.neighbours, size), largest=False)
        known = near.values.isfinite()
        picked = self._drawn(known, 1)
        alone = ~known.gather(1, picked).squeeze(1)
        mate = torch.where(alone, seed, near.indices.gather(1, picked).squeeze(1))
        x, y = self._synthesise(batch, apart, rare, seed, mate)

        kept = ~rare[seed]
        shaped = kept.view(-1, *[1] * (batch.x.dim() - 1))
        y = torch.where(kept, batch.y[place], y)
        return replace(
            batch,
            x=batch.x.index_copy(0, place, torch.where(shaped, batch.x[place], x)),
            y=batch.y.index_copy(0, place, y),
            bin=batch.bin.index_copy(0, place, bin_of(y, self.edges)),
            index=batch.index.index_copy(0, place, torch.where(kept, batch.index[place], batch.index[seed])),
        )

    def _drawn(self, wanted: Tensor, n: int) -> Tensor:
        """Places `[…, n]` of n different entries of each row, at random: wanted ones, others when these run out.

        The smallest of random keys, those of unwanted entries beyond all others. `torch.multinomial` looks at its
        weights, and so waits for the device, when it draws one or without replacement.
        """
        key = torch.rand(wanted.shape, device=wanted.device, generator=self.generator)
        return torch.where(wanted, key, key + 1.0).topk(n, largest=False).indices

    def _synthesise(
        self, batch: Batch, apart: Tensor, rare: Tensor, seed: Tensor, mate: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Inputs and labels of the synthetic rows, from seeds and mates (rows of the batch)."""
        u = torch.rand(len(seed), device=seed.device, generator=self.generator)
        shaped = u.view(-1, *[1] * (batch.x.dim() - 1))
        return torch.lerp(batch.x[seed], batch.x[mate], shaped), torch.lerp(batch.y[seed], batch.y[mate], u)


class SMOGN(SmoteR):
    """SmoteR where the neighbour is near, Gaussian noise around the seed where it is not.

        near:  d(x_i, x_j) < ½ · median distance of x_i to the other rare samples: interpolate as SmoteR
        far:   x = x_i + δ s_x ε,   y = y_i + δ s_y ε',   ε, ε' ~ N(0, 1)

    s = standard deviations of the batch's inputs (per feature) and labels, δ = `noise`. As SmoteR here, it works in the
    batch. δ = 0.02 is the original's default.
    """

    source: ClassVar[str] = "Branco et al., PMLR 74, 2017"

    class Hparams(SmoteR.Hparams):
        """`noise` in standard deviations."""

        noise: Annotated[float, Float(0.001, 0.5, log=True)] = 0.02

    hparams: Hparams

    def _synthesise(
        self, batch: Batch, apart: Tensor, rare: Tensor, seed: Tensor, mate: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, y = super()._synthesise(batch, apart, rare, seed, mate)
        others = rare & (torch.arange(len(rare), device=rare.device) != seed[:, None])
        median = apart.masked_fill(~others, torch.nan).nanmedian(1).values
        far = ~(apart.gather(1, mate[:, None]).squeeze(1) < median / 2)
        noise = torch.randn(batch.x[seed].shape, device=seed.device, generator=self.generator, dtype=batch.x.dtype)
        shift = torch.randn(len(seed), device=seed.device, generator=self.generator)
        noisy_x = batch.x[seed] + self.hparams.noise * batch.x.std(0) * noise
        noisy_y = batch.y[seed] + self.hparams.noise * batch.y.std() * shift
        shaped = far.view(-1, *[1] * (batch.x.dim() - 1))
        return torch.where(shaped, noisy_x, x), torch.where(far, noisy_y, y)
