"""The written formulas as plain loops over samples, labels, buckets and anchors: what the parts are checked against.

Nothing here is fast, and nothing is shared with the parts: the tests compare the two in float64, and `bench.methods`
times the two side by side.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def lds_weights(
    bins: Sequence[int], size: int, transform: Callable[[int], float], window: Sequence[float]
) -> list[float]:
    """Weights of samples from their bins: transform the counts, smooth with zeros beyond the ends, invert, mean 1."""
    counts = [0] * size
    for b in bins:
        counts[b] += 1
    values = [transform(n) for n in counts]
    half = len(window) // 2
    smoothed = []
    for b in range(size):
        total = 0.0
        for k, share in enumerate(window):
            if 0 <= b + k - half < size:
                total += share * values[b + k - half]
        smoothed.append(total)
    weights = [1.0 / smoothed[b] for b in bins]
    scale = len(weights) / sum(weights)
    return [w * scale for w in weights]


def calibrate(
    x: Tensor, mean: Tensor, var: Tensor, smoothed_mean: Tensor, smoothed_var: Tensor, clip: tuple[float, float]
) -> Tensor:
    """One bucket's features `[n, D]`."""
    if float(var.sum()) < 1e-10:
        return x
    spread = var != 0
    factor = torch.clamp(smoothed_var[spread] / var[spread], *clip)
    moved = x.clone()
    moved[:, spread] = (x[:, spread] - mean[spread]) * torch.sqrt(factor) + smoothed_mean[spread]
    return moved


def mirrored(place: int, size: int) -> int:
    """A place beyond the ends, mirrored at the first or the last without repeating it."""
    if size == 1:
        return 0
    while not 0 <= place < size:
        place = -place if place < 0 else 2 * (size - 1) - place
    return place


def smooth_rows(rows: Tensor, window: Sequence[float]) -> Tensor:
    """Every row `[M, D]` as the window's average of its neighbours, mirrored at the ends."""
    half = len(window) // 2
    smoothed = torch.zeros_like(rows)
    for b in range(len(rows)):
        for k, share in enumerate(window):
            smoothed[b] += share * rows[mirrored(b + k - half, len(rows))]
    return smoothed


class OfficialFDS:
    """Feature smoothing as the published code does it, with its order of events and its aliased storage."""

    def __init__(
        self,
        first: int,
        last: int,
        dim: int,
        window: Sequence[float],
        momentum: float | None = 0.9,
        clip: tuple[float, float] = (0.1, 10.0),
        dtype: torch.dtype = torch.float64,
        fill: bool = False,
    ) -> None:
        size = last - first + 1
        self.first, self.last, self.window, self.momentum, self.clip, self.fill = (
            first,
            last,
            window,
            momentum,
            clip,
            fill,
        )
        self.epoch = 0
        self.running_mean, self.running_var = torch.zeros(size, dim, dtype=dtype), torch.ones(size, dim, dtype=dtype)
        self.last_mean, self.last_var = self.running_mean.clone(), self.running_var.clone()
        self.smoothed_mean, self.smoothed_var = self.running_mean.clone(), self.running_var.clone()
        self.tracked = [0] * size

    def _members(self, labels: Tensor) -> list[tuple[int, Tensor]]:
        """Buckets of a call with the rows of each, edge labels joining only where the edge itself is present."""
        members = []
        for label in sorted({int(v) for v in labels}):
            if label > self.last or label < self.first:
                continue
            if label == self.first:
                mask = labels < label + 1
            elif label == self.last:
                mask = labels >= label
            else:
                mask = (labels >= label) & (labels < label + 1)
            members.append((label - self.first, mask))
        return members

    def smooth(self, features: Tensor, labels: Tensor, epoch: int) -> Tensor:
        """Features `[B, D]` of a training step."""
        if epoch < 1:
            return features
        features = features.clone()
        for b, mask in self._members(labels):
            features[mask] = calibrate(
                features[mask],
                self.last_mean[b],
                self.last_var[b],
                self.smoothed_mean[b],
                self.smoothed_var[b],
                self.clip,
            )
        return features

    def end_epoch(self, features: Tensor, labels: Tensor, epoch: int) -> None:
        """Statistics of the epoch's features, which have been smoothed before they get here."""
        features = self.smooth(features, labels, epoch)
        self._update_last(epoch)
        self._update_running(features, labels, epoch)

    def _update_last(self, epoch: int) -> None:
        if epoch != self.epoch + 1:
            return
        self.epoch += 1
        self.last_mean, self.last_var = self.running_mean, self.running_var  # the same storage, on purpose
        self.smoothed_mean = smooth_rows(self.last_mean, self.window)
        self.smoothed_var = smooth_rows(self.last_var, self.window)

    def _fill_absent(self, present: set[int]) -> None:
        """Walk over the buckets from the first to the last and overwrite, in place, those that the call has not."""
        size = len(self.running_mean)
        for b in range(size):
            if b in present or size == 1:
                continue
            for values in (self.running_mean, self.running_var):
                if b == 0:
                    values[0] = values[1]
                elif b == size - 1:
                    values[b] = values[b - 1]
                else:
                    values[b] = 0.5 * values[b - 1] + 0.5 * values[b + 1]

    def _update_running(self, features: Tensor, labels: Tensor, epoch: int) -> None:
        if epoch < self.epoch:
            return
        members = self._members(labels)
        for b, mask in members:
            rows = features[mask]
            n = len(rows)
            mean, var = rows.mean(0), rows.var(0, unbiased=n > 1)
            self.tracked[b] += n
            kept = self.momentum if self.momentum is not None else 1.0 - n / self.tracked[b]
            kept = 0.0 if epoch == 0 else kept
            self.running_mean[b] = (1 - kept) * mean + kept * self.running_mean[b]
            self.running_var[b] = (1 - kept) * var + kept * self.running_var[b]
        if self.fill:
            self._fill_absent({b for b, _ in members})


class PaperFDS:
    """Feature smoothing as the paper writes it: same epoch for both statistics, empty buckets out of the window."""

    def __init__(
        self,
        size: int,
        dim: int,
        window: Sequence[float],
        momentum: float | None = 0.9,
        clip: tuple[float, float] = (0.1, 10.0),
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.size, self.window, self.momentum, self.clip = size, window, momentum, clip
        self.mean, self.var = torch.zeros(size, dim, dtype=dtype), torch.zeros(size, dim, dtype=dtype)
        self.tracked = [0] * size
        self.smoothed_mean, self.smoothed_var = self.mean.clone(), self.var.clone()

    def smooth(self, features: Tensor, buckets: Tensor, epoch: int) -> Tensor:
        """Features `[B, D]` of a training step."""
        if epoch < 1:
            return features
        rows = []
        for row, b in zip(features, buckets.tolist(), strict=True):
            factor = torch.ones_like(row)
            for d in range(len(row)):
                if float(self.var[b, d]) > 0:
                    ratio = float(self.smoothed_var[b, d] / self.var[b, d])
                    factor[d] = math.sqrt(min(max(ratio, self.clip[0]), self.clip[1]))
            rows.append((row - self.mean[b]) * factor + self.smoothed_mean[b])
        return torch.stack(rows)

    def end_epoch(self, features: Tensor, buckets: Tensor, epoch: int) -> None:
        """Statistics of the epoch's raw features, then their smoothing; every epoch is treated alike."""
        for b in sorted(set(buckets.tolist())):
            rows = features[buckets == b]
            n = len(rows)
            kept = self.momentum if self.momentum is not None else 1.0 - n / (self.tracked[b] + n)
            kept = 0.0 if self.tracked[b] == 0 else kept
            self.tracked[b] += n
            self.mean[b] = (1 - kept) * rows.mean(0) + kept * self.mean[b]
            self.var[b] = (1 - kept) * rows.var(0, unbiased=n > 1) + kept * self.var[b]
        seen = [n > 0 for n in self.tracked]
        self.smoothed_mean = self._window(self.mean, seen)
        spread = [ok and float(self.var[b].sum()) > 0 for b, ok in enumerate(seen)]
        self.smoothed_var = self._window(self.var, spread)

    def _window(self, values: Tensor, known: Sequence[bool]) -> Tensor:
        half = len(self.window) // 2
        smoothed = values.clone()
        for b in range(self.size):
            total, reach = torch.zeros_like(values[b]), 0.0
            for k, share in enumerate(self.window):
                place = mirrored(b + k - half, self.size)
                if known[place]:
                    total, reach = total + share * values[place], reach + share
            if reach > 0:
                smoothed[b] = total / reach
        return smoothed


def rank(values: Tensor) -> Tensor:
    """Position of every value `[m]` from the largest, divided by m; of equal values the later one comes first."""
    descending = torch.argsort(values, stable=True).flip(0)
    return (torch.argsort(descending) + 1).to(values.dtype) / len(values)


class _BlackboxRank(torch.autograd.Function):
    @staticmethod
    def forward(ctx: "torch.autograd.function.FunctionCtx", values: Tensor, strength: float) -> Tensor:
        made = rank(values)
        ctx.strength = strength  # type: ignore[attr-defined]  # the documented way to keep a number
        ctx.save_for_backward(values, made)
        return made

    @staticmethod
    def backward(ctx: "torch.autograd.function.FunctionCtx", grad: Tensor) -> tuple[Tensor, None]:
        values, made = ctx.saved_tensors  # type: ignore[attr-defined]
        strength: float = ctx.strength  # type: ignore[attr-defined]
        return -(made - rank(values + strength * grad)) / (strength + 1e-8), None


def ranksim_loss(features: Tensor, labels: Tensor, strength: float) -> Tensor:
    """Sum over anchors, one at a time; features `[m, D]` in ascending order of distinct labels `[m]`."""
    rows = features / features.norm(dim=1, keepdim=True)
    total = features.new_zeros(())
    for anchor, label in zip(rows, labels, strict=True):
        target = rank(-(label - labels).abs())
        made: Tensor = _BlackboxRank.apply(rows @ anchor, strength)  # type: ignore[no-untyped-call]
        total = total + ((made - target) ** 2).sum() / len(rows)
    return total


def one_per_label(labels: Tensor, choose: Callable[[int], int]) -> Tensor:
    """Rows `[m]` of one sample of every distinct label, in the order of the labels; `choose(n)` is one of 0 … n − 1."""
    rows = []
    for label in sorted(set(labels.tolist())):
        members = [i for i, other in enumerate(labels.tolist()) if other == label]
        rows.append(members[choose(len(members))])
    return torch.tensor(rows)


def soft_sort(values: Tensor, strength: float) -> Tensor:
    """Ascending soft sort by pooling adjacent violators one at a time; the gradient goes through the pools."""
    numbers = values.tolist()
    order = sorted(range(len(values)), key=lambda j: numbers[j], reverse=True)
    n = len(order)
    pools: list[list[int]] = []
    level: list[float] = []
    y = [(n - i) / strength - numbers[j] for i, j in enumerate(order)]
    for i in range(n):
        pools.append([i])
        level.append(y[i])
        while len(level) > 1 and level[-2] < level[-1]:
            merged = pools[-2] + pools[-1]
            pools[-2:] = [merged]
            level[-2:] = [sum(y[j] for j in merged) / len(merged)]
    sorted_values: list[Tensor] = [values[0]] * n
    for pool in pools:
        mean = sum(((n - i) / strength - values[order[i]] for i in pool), start=values[0] * 0) / len(pool)
        for i in pool:
            sorted_values[n - 1 - i] = (n - i) / strength - mean
    return torch.stack(sorted_values)


def dist_loss(pred: Tensor, pseudo: Sequence[float], loss: Callable[[float, Tensor], Tensor]) -> Tensor:
    """Mean of a loss between the predictions, sorted one after another, and the pseudo-labels."""
    order = sorted(range(len(pred)), key=pred.tolist().__getitem__)
    total = pred.new_zeros(())
    for j, target in zip(order, pseudo, strict=True):
        total = total + loss(target, pred[j])
    return total / len(order)


def normal_cdf(x: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def label_quantiles(labels: Sequence[float], n: int, bandwidth: float, low: float, high: float) -> list[float]:
    """The (i − ½)/n quantiles of the smoothed labels, by bisection of the distribution function."""
    mean = sum(labels) / len(labels)
    width = bandwidth * math.sqrt(sum((y - mean) ** 2 for y in labels) / (len(labels) - 1))

    def mass(x: float) -> float:
        return sum(normal_cdf((x - y) / width) for y in labels) / len(labels)

    start, end = mass(low), mass(high)
    made = []
    for i in range(n):
        share, a, b = start + (i + 0.5) / n * (end - start), low, high
        for _ in range(60):
            middle = (a + b) / 2
            a, b = (middle, b) if mass(middle) < share else (a, middle)
        made.append((a + b) / 2)
    return made


def kde_pseudo_labels(
    labels: Sequence[float], n: int, bandwidth: float, low: float, high: float, step: float
) -> list[float]:
    """The published apportioning, label by label."""
    mean = sum(labels) / len(labels)
    width = bandwidth * math.sqrt(sum((y - mean) ** 2 for y in labels) / (len(labels) - 1))
    points = [low + i * step for i in range(round((high - low) / step) + 1)]
    density = [sum(math.exp(-0.5 * ((p - y) / width) ** 2) for y in labels) for p in points]
    expected = [d / sum(density) * n for d in density]
    made = [round(e) for e in expected]
    for direction in (1, -1):
        places = list(range(len(points)))[::direction]
        total = 0.0
        for place in places:
            total += expected[place]
            made[place] = 0
            if total >= 1:
                made[place] = round(total)
                break
    mode = made.index(max(made))  # the first of the largest rounded counts
    while sum(made) != n:
        rest = n - sum(made)
        if made[mode] == 0:
            mode = made.index(max(made))
        near = min(abs(rest), len(points) // 2 or 1)
        start = min(max(mode - near // 2, 0), len(points) - near)
        for place in range(start, start + near):
            made[place] = max(made[place] + (1 if rest > 0 else -1), 0)
    return [p for p, count in zip(points, made, strict=True) for _ in range(count)]


def sinkhorn_potential(cost: Tensor, source: Tensor, target: Tensor, epsilon: float, steps: int) -> Tensor:
    """Potential `[n]` of the source by the textbook's alternating scalings, with the kernel divided by row maxima."""
    least = cost.min(1).values
    kernel = torch.exp(-(cost - least[:, None]) / epsilon)
    v = torch.ones_like(target)
    for _ in range(steps):
        u = source / (kernel @ v)
        v = target / (kernel.T @ u)
    return epsilon * u.log() + least


def focal(pred: float, target: float, power: int, beta: float, gamma: float, activation: str) -> float:
    """Focal-R of one sample."""
    error = abs(pred - target)
    grown = math.tanh(beta * error) if activation == "tanh" else 2.0 / (1.0 + math.exp(-beta * error)) - 1.0
    return float(error**power * grown**gamma)


def huber(pred: float, target: float, beta: float) -> float:
    """Huber's loss of one sample."""
    error = abs(pred - target)
    return error * error / (2 * beta) if error < beta else error - beta / 2


def balanced_mse(
    pred: Sequence[float], target: Sequence[float], centres: Sequence[tuple[float, float, float]], noise: float
) -> list[float]:
    """Balanced MSE with a balancing sum over (share, centre, variance), by the densities themselves."""

    def density(x: float, var: float) -> float:
        return math.exp(-x * x / (2 * var)) / math.sqrt(2 * math.pi * var)

    made = []
    for p, y in zip(pred, target, strict=True):
        balance = sum(share * density(c - p, var + noise**2) for share, c, var in centres)
        made.append(2 * noise**2 * (math.log(balance) - math.log(density(y - p, noise**2))))
    return made
