"""Feature distribution smoothing."""

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, TypeAlias

import torch
from torch import Tensor

from workloads.hparams import Choice, Declared, Float, Int, Law, Only
from workloads.labels import kernel_window
from workloads.laws import OnGrid, Ordered
from workloads.methods.bins import bin_of
from workloads.seam import Batch, Features, Method, TrainLabels
from workloads.windows import reflected, smoothed, windowed

Statistics: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Count `[M]`, mean `[M, D]` and variance `[M, D]` of every bucket."""


def bucket_statistics(features: Tensor, bucket: Tensor, buckets: int) -> Statistics:
    """Count `[M]`, mean `[M, D]` and variance `[M, D]` of the features `[N, D]` in every bucket; empty ones hold 0.

    The variance is unbiased, and 0 in a bucket of one sample, as in the published code. It is taken around the mean
    in a second sweep: E[x²] − E[x]² loses all its digits in float32 when the mean is large.
    """
    zeros = features.new_zeros(buckets, features.shape[1])
    count = features.new_zeros(buckets).index_add_(0, bucket, features.new_ones(len(bucket)))
    mean = zeros.index_add(0, bucket, features) / count.clamp(min=1).unsqueeze(1)
    squares = zeros.index_add(0, bucket, (features - mean[bucket]).square())
    return count, mean, squares / (count - 1).clamp(min=1).unsqueeze(1)


def pooled(a: Statistics, b: Statistics) -> Statistics:
    """Statistics of two sets of samples together.

        δ = mean_b − mean_a,   mean = mean_a + δ n_b/n,   Σ(x − mean)² = Σ_a + Σ_b + δ² n_a n_b/n

    Source: Chan, Golub & LeVeque, COMPSTAT 1982: stable where the mean is large.
    """
    (count_a, mean_a, var_a), (count_b, mean_b, var_b) = a, b
    count = count_a + count_b
    share = (count_b / count.clamp(min=1)).unsqueeze(1)
    apart = mean_b - mean_a
    squares = sum((n - 1).clamp(min=0).unsqueeze(1) * var for n, var in ((count_a, var_a), (count_b, var_b)))
    squares = squares + apart.square() * share * count_a.unsqueeze(1)
    return count, mean_a + apart * share, squares / (count - 1).clamp(min=1).unsqueeze(1)


def variance_ratio(var: Tensor, smoothed_var: Tensor, clip: tuple[float, float]) -> Tensor:
    """Square root of the clipped ratio of variances; 1 where a variance is 0."""
    ratio = (smoothed_var / var.clamp(min=torch.finfo(var.dtype).tiny)).clamp(*clip)
    return torch.where(var > 0, ratio, torch.ones_like(ratio)).sqrt()


def calibrate(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    smoothed_mean: Tensor,
    smoothed_var: Tensor,
    clip: tuple[float, float] = (0.1, 10.0),
) -> Tensor:
    """Move features `[…, D]` from the statistics of their bucket to the smoothed ones.

        (x − mean) · √clip(smoothed_var / var) + smoothed_mean

    Statistics are `[D]`, or `[…, D]` with a row for every feature. Unchanged where var is 0, and all over when
    Σ var < 1e-10, as in the published code for ages. Only the ratio is clipped, not the shift; published clips are
    (0.1, 10) for ages, (0.5, 2) for STS-B, (0.2, 5) for NYUD2. Source: Yang et al., ICML 2021, arXiv:2102.09554,
    Sec. 3.2.
    """
    moved = (x - mean) * variance_ratio(var, smoothed_var, clip) + smoothed_mean
    return torch.where((var > 0) & (var.sum(-1, keepdim=True) >= 1e-10), moved, x)


class FDS(Method):
    """Calibrate features by statistics that are smoothed over neighbouring label bins, in training only.

        h_i = (z_i − μ_b) · √clip(σ̃²_b / σ²_b) + μ̃_b,   b = bin_i,   μ̃, σ̃² = window * (μ, σ²)

    μ, σ² `[M, D]` are running means (m · old + (1 − m) · new) over epochs of the bins' feature means and variances, or
    cumulative averages. The map is affine, so one scale and shift per bin are computed at the end of an epoch and a
    step is a gather and a multiply-add.

    `variant = paper`: statistics of raw features in evaluation mode; μ and μ̃ come from the same epoch; bins without
    samples drop out of the window, which is renormalised; a bin of one sample, which has no variance, is shifted but
    not scaled. `variant = official` follows the published code: statistics of already calibrated features of a pass in
    training mode, μ̃ one epoch older than μ (so the first smoothing is in epoch 2), empty bins stay at mean 0 and
    variance 1, bins of one sample are left alone, and so are single features without variance (as for ages). Nothing is
    done in place, so it neither breaks autograd after a ReLU nor, unlike the original, resumes differently.
    `empty = neighbours` (as for STS-B) fills every bin that the epoch's pass lacks, seen before or not, from the lowest
    up: with the mean of its two neighbours, the lower of which may just have been filled; an end bin with its one.

    The official pass is over shuffled and augmented batches of the training's own size, as published: it moves
    BatchNorm, which in the order of a table sorted by label would end with the statistics of the last labels. Label
    maps are passed without augmentation, as published. The pass of `variant = paper` moves nothing.

    `statistics = streaming` gathers them from the training steps instead of a pass of its own over the data.
    `first_bin` and `last_bin` end the buckets (AgeDB-DIR: 3 and 99): bins beyond are merged into the end buckets;
    officially only in calls that also hold a sample of the end bin itself. A call is a training step or the pass as a
    whole; the published pass smooths by batches, which differ in the end buckets only.

    It can be driven alone: `fds.fit(train)`, then `fds.update(epoch, features, labels)` at the end of every epoch and
    `fds.calibrate(z, batch)` in between. Defaults are those of the published commands for ages.
    """

    source: ClassVar[str] = "Yang et al., ICML 2021, arXiv:2102.09554, Sec. 3.2"
    note: ClassVar[str] = "reference code MIT"

    class Hparams(Declared):
        """Window over the bins, running average, and what follows the paper or its code; `width`, `sigma` in bins."""

        kernel: Annotated[str, Choice("gaussian", "triang", "laplace")] = "gaussian"
        width: Annotated[int, Int(3, 15, step=2)] = 5
        sigma: Annotated[float, Float(0.5, 4.0, log=True), Only(kernel=("gaussian", "laplace"))] = 2.0
        average: Annotated[str, Choice("running", "cumulative", tune=False)] = "running"
        momentum: Annotated[float, Float(0.0, 0.99), Only(average=("running",))] = 0.9
        variant: Annotated[str, Choice("paper", "official", tune=False)] = "paper"
        empty: Annotated[str, Choice("unit", "neighbours", tune=False), Only(variant=("official",))] = "unit"
        statistics: Annotated[str, Choice("pass", "streaming", tune=False)] = "pass"
        clip_low: Annotated[float, Float(0.0, 1.0, tune=False)] = 0.1
        clip_high: Annotated[float, Float(1.0, 1e6, tune=False)] = 10.0
        start_smooth: Annotated[int, Int(1, 1000, tune=False)] = 1
        first_bin: Annotated[int, Int(0, 100_000, tune=False)] = 0
        last_bin: Annotated[int, Int(0, 100_000, tune=False)] = 100_000

        laws: ClassVar[tuple[Law, ...]] = (Ordered("first_bin", "last_bin"), OnGrid("first_bin"))

    @classmethod
    def version_of(cls, hparams: Declared) -> int:
        """2 where bins are filled from neighbours, or the pass is in training mode: both give other numbers than 1."""
        assert isinstance(hparams, FDS.Hparams)
        again = hparams.statistics == "pass" or hparams.empty == "neighbours"
        return 2 if hparams.variant == "official" and again else cls.version

    hparams: Hparams
    mean: Tensor
    var: Tensor
    tracked: Tensor
    scale: Tensor
    shift: Tensor
    edges: Tensor
    places: Tensor
    seen: Tensor
    total: Tensor
    squares: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Size the buffers: M buckets of D features, and the map that changes nothing."""
        p = self.hparams
        self.first, self.last = p.first_bin, min(p.last_bin, train.grid.bins - 1)
        if self.first > self.last:
            raise ValueError(f"first_bin must not exceed last_bin: got {self.first} and {self.last} in fds")
        # Merging depends on the call only where bins lie beyond the buckets; else the mask below is not needed.
        self.merges = p.variant == "official" and (self.first > 0 or self.last < train.grid.bins - 1)
        self.batch_matters = self.merges
        self.collects = p.statistics == "streaming"
        buckets = self.last - self.first + 1
        size = (buckets, train.dim)
        self.register_buffer("edges", torch.from_numpy(train.grid.edges))
        self.window: list[float] = kernel_window(p.kernel, p.width, p.sigma, normalize="sum").tolist()
        self.register_buffer("places", reflected(buckets, p.width), persistent=False)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("var", torch.ones(size))
        self.register_buffer("tracked", torch.zeros(buckets))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("shift", torch.zeros(size))
        if p.statistics == "streaming":
            self.register_buffer("seen", torch.zeros(buckets))
            self.register_buffer("total", torch.zeros(size))
            self.register_buffer("squares", torch.zeros(size))

    @property
    def warmup(self) -> int:
        """Epochs before the first in which features are moved."""
        return max(self.hparams.start_smooth, 2 if self.hparams.variant == "official" else 1)

    def calibrate(self, z: Tensor, batch: Batch) -> Tensor:
        """Features `[B, D]`, or dense ones `[B, D, …]` with bins `[B, …]`, moved to the smoothed statistics."""
        if z.dim() > 2:
            last = z.movedim(1, -1)
            flat = self._step(last.flatten(0, -2), batch.bin.flatten(), batch.epoch)
            return flat.view(last.shape).movedim(-1, 1)
        return self._step(z, batch.bin, batch.epoch)

    def end_epoch(self, epoch: int, features: Features) -> None:
        """Update the statistics and the map for the next epoch."""
        if self.hparams.statistics == "streaming":
            self._advance(epoch, *self._streamed())
        else:
            self._pass(epoch, features.labels, features.chunks(train_mode=self.hparams.variant == "official"))

    def update(self, epoch: int, features: Tensor, labels: Tensor) -> None:
        """End `epoch` with the training features `[N, D]` and labels `[N]`."""
        flat = features.movedim(1, -1).flatten(0, -2)
        self._pass(epoch, labels.flatten(), [(torch.arange(len(flat)), flat)])

    def _pass(self, epoch: int, labels: Tensor, chunks: Iterable[tuple[Tensor, Tensor]]) -> None:
        """End `epoch` with the labels `[N]`, and the features `[n, D]` of some places `[n]` at a time."""
        bucket, inside = self._bucket(bin_of(labels, self.edges))
        found: Statistics | None = None
        for places, z in chunks:
            at = places.to(z.device)
            features, own, taken = z.to(self.mean.dtype), bucket[at], None if inside is None else inside[at]
            if self.hparams.variant == "official" and epoch >= self.hparams.start_smooth:
                features = self._move(features, own, taken)
            if taken is not None:
                features, own = features[taken], own[taken]  # synchronises, once a chunk
            fresh = bucket_statistics(features, own, len(self.tracked))
            found = fresh if found is None else pooled(found, fresh)
        assert found is not None  # a training set has rows
        self._advance(epoch, *found)

    def _bucket(self, bins: Tensor) -> tuple[Tensor, Tensor | None]:
        """Bucket of every bin, and which samples take part; None stands for all."""
        bucket = bins.clamp(self.first, self.last) - self.first
        if not self.merges:
            return bucket, None
        low, high = (bins == self.first).any(), (bins == self.last).any()
        return bucket, ((bins >= self.first) | low) & ((bins <= self.last) | high)

    def _move(self, z: Tensor, bucket: Tensor, inside: Tensor | None) -> Tensor:
        moved = torch.addcmul(self.shift[bucket], z, self.scale[bucket])
        return moved if inside is None else torch.where(inside.unsqueeze(1), moved, z)

    def _step(self, z: Tensor, bins: Tensor, epoch: int) -> Tensor:
        bucket, inside = self._bucket(bins)
        h = self._move(z, bucket, inside) if epoch >= self.hparams.start_smooth else z
        if self.hparams.statistics == "streaming":
            features = (h if self.hparams.variant == "official" else z).detach().to(self.mean.dtype)
            self._gather(features, bucket, torch.ones_like(bucket) if inside is None else inside)
        return h

    def _gather(self, features: Tensor, bucket: Tensor, inside: Tensor) -> None:
        """Add a step to the sums, around the running mean: small numbers, whose squares keep their digits."""
        share = inside.to(features.dtype)
        around = (features - self.mean[bucket]).mul_(share.unsqueeze(1))
        self.seen.index_add_(0, bucket, share)
        self.total.index_add_(0, bucket, around)
        self.squares.index_add_(0, bucket, around.square_())

    def _streamed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Count, mean and variance of the steps since the last call."""
        count = self.seen.clone()
        offset = self.total / count.clamp(min=1).unsqueeze(1)
        squares = (self.squares - self.total * offset).clamp(min=0)
        for sums in (self.seen, self.total, self.squares):
            sums.zero_()
        return count, self.mean + offset, squares / (count - 1).clamp(min=1).unsqueeze(1)

    def _advance(self, epoch: int, count: Tensor, mean: Tensor, var: Tensor) -> None:
        VARIANTS[self.hparams.variant](self, epoch, count, mean, var)

    def _average(self, fresh: Tensor, count: Tensor, mean: Tensor, var: Tensor) -> None:
        """Fold an epoch into the running statistics; where `fresh` `[M]`, the old ones count nothing."""
        present = (count > 0).unsqueeze(1)
        self.tracked += count
        kept = torch.full_like(count, self.hparams.momentum)
        if self.hparams.average == "cumulative":
            kept = 1.0 - count / self.tracked.clamp(min=1)
        kept = torch.where(fresh, torch.zeros_like(kept), kept).unsqueeze(1)
        self.mean.copy_(torch.where(present, torch.lerp(mean, self.mean, kept), self.mean))
        self.var.copy_(torch.where(present, torch.lerp(var, self.var, kept), self.var))

    def _paper(self, epoch: int, count: Tensor, mean: Tensor, var: Tensor) -> None:
        self._average(self.tracked == 0, count, mean, var)
        known = self.tracked > 0
        smoothed_mean = smoothed(self.mean, known, self.window, self.places)
        smoothed_var = smoothed(self.var, known & (self.var.sum(1) > 0), self.window, self.places)
        self.scale.copy_(variance_ratio(self.var, smoothed_var, (self.hparams.clip_low, self.hparams.clip_high)))
        self.shift.copy_(smoothed_mean - self.mean * self.scale)

    def _official(self, epoch: int, count: Tensor, mean: Tensor, var: Tensor) -> None:
        smoothed_mean, smoothed_var = (windowed(v, self.window, self.places) for v in (self.mean, self.var))
        self._average(torch.full_like(count, epoch == 0, dtype=torch.bool), count, mean, var)
        if self.hparams.empty == "neighbours":
            self._fill((count == 0).nonzero().flatten().tolist())  # synchronises, once an epoch
        if epoch == 0:
            return
        scale = variance_ratio(self.var, smoothed_var, (self.hparams.clip_low, self.hparams.clip_high))
        moves = (self.var > 0) & (self.var.sum(1, keepdim=True) >= 1e-10)
        self.scale.copy_(torch.where(moves, scale, torch.ones_like(scale)))
        self.shift.copy_(torch.where(moves, smoothed_mean - self.mean * scale, torch.zeros_like(scale)))

    def _fill(self, empty: Sequence[int]) -> None:
        """Give empty buckets, ascending, the mean of their neighbours, at an end of the one; a lone bucket stays."""
        last = len(self.tracked) - 1
        if not last or not empty:
            return
        # On the host, where a step of this recurrence costs a microsecond: with 100,001 bins nearly all are empty.
        both = torch.cat([self.mean, self.var], dim=1).cpu().numpy()
        for b in empty:
            # One after another, as published: a bucket sees what its lower neighbour was filled with.
            both[b] = (both[b - 1 if b else 1] + both[b + 1 if b < last else b - 1]) / 2
        self.mean.copy_(torch.from_numpy(both[:, : self.mean.shape[1]]))
        self.var.copy_(torch.from_numpy(both[:, self.mean.shape[1] :]))


VARIANTS = {"paper": FDS._paper, "official": FDS._official}
