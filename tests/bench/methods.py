"""Speed of the parts against plain loops, side by side in one run: `python -m bench.methods`.

One core; medians of interleaved repeats, so that a busy machine slows both sides. Ages are drawn like those of
AgeDB-DIR: about 64 distinct ones in a batch of 256.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bench import reference
from workloads.features import Encoded
from workloads.hparams import Value
from workloads.labels import LabelGrid, kernel_window
from workloads.methods.distloss import label_quantiles
from workloads.methods.fds import FDS
from workloads.methods.lds import lds_weights
from workloads.methods.ranksim import ranksim_loss
from workloads.model import Model
from workloads.recipe import Recipe
from workloads.seam import Batch, TrainLabels
from workloads.workload import Units

AGES = LabelGrid(0, 121, 121)
SCORES = LabelGrid(0, 5, 50)
FULL = "l1 + lds + fds + ranksim + distloss"
CPU = torch.device("cpu")
COPIES = 20
"""Of the features of a batch: what is read once or twice takes a few of them."""


@dataclass(frozen=True)
class Measurement:
    """What was measured: seconds of ours and of the rival, and the bounds that hold for their ratio.

    None is of seconds: a busy machine breaks no claim.
    """

    what: str
    ours_s: float
    rival: str
    rival_s: float
    at_least_ratio: float | None = None
    at_most_share: float | None = None
    """Bound on ours as a share of the rival."""

    @property
    def holds(self) -> bool:
        """Whether all bounds are kept."""
        return (self.at_least_ratio is None or self.rival_s / self.ours_s >= self.at_least_ratio) and (
            self.at_most_share is None or self.ours_s / self.rival_s <= self.at_most_share
        )

    def __str__(self) -> str:
        bounds = [
            "" if self.at_least_ratio is None else f"≥ {self.at_least_ratio:g}×",
            "" if self.at_most_share is None else f"≤ {self.at_most_share:.1%} of it",
        ]
        ratio = self.rival_s / self.ours_s
        compared = f"{ratio:.1f}×" if self.at_most_share is None else f"{self.ours_s / self.rival_s:.2%}"
        return (
            f"{self.what}: {self.ours_s * 1e3:.2f} ms; {self.rival} {self.rival_s * 1e3:.2f} ms; {compared}"
            f" (hold {', '.join(b for b in bounds if b)}: {'yes' if self.holds else 'NO'})"
        )


def seconds(calls: Mapping[str, Callable[[], object]], repeats: int, warm: bool = False) -> dict[str, float]:
    """Median wall time of each call, taken in turns; a first round is not counted.

    `warm` makes every call once before it is timed: caches hold what it reads, however much the one before it took.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            if warm:
                call()
            start = time.perf_counter()
            call()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def ages(n: int, generator: torch.Generator) -> Tensor:
    """Labels `[n]` like the ages of AgeDB-DIR."""
    return (torch.randn(n, generator=generator) * 15.8 + 45).round().clamp(1, 101)


def seen_features(n: int, dim: int) -> Tensor:
    """The features `[n, D]` of the epochs before the one that is timed."""
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(1))


def model_of(
    recipe: str, encoder: nn.Module, dim: int, labels: Tensor, settings: Mapping[str, Value] | None = None
) -> Model:
    """A model whose methods have seen one epoch of features."""
    model = Model(encoder, dim, Recipe.parse(recipe), settings or {}, Units(45.0, 15.8))
    inputs = seen_features(len(labels), dim)
    model.fit(TrainLabels(labels, AGES, dim, 256, inputs=lambda rows: inputs[rows]))
    model.seed(dict.fromkeys(("objective", "plan", *Recipe.parse(recipe).methods), 0), CPU)
    model.effective.fill_(True)  # what is timed is a step of a later epoch, when nothing is watched any more
    features = seen_features(len(labels), dim)
    for epoch in range(2):
        model.end_epoch(epoch, 0, Encoded(labels, lambda train_mode: iter([(torch.arange(len(labels)), features)])))
    return model


def batch_of(x: Tensor, labels: Tensor, epoch: int = 2) -> Batch:
    """The first rows of the training set as a batch."""
    y = labels[: len(x)]
    return Batch(x, y, torch.from_numpy(AGES.bin(y.numpy())), torch.arange(len(x)), epoch, 0)


def steps(rows: int = 256, dim: int = 2048) -> Iterator[Measurement]:
    """A step of the full recipe on given features, and its two dear parts, against loops."""
    generator = torch.Generator().manual_seed(0)
    labels = ages(4096, generator)
    y = labels[:rows]
    z = torch.randn(rows, dim, generator=generator, requires_grad=True)
    model = model_of(FULL, nn.Identity(), dim, labels)
    given = batch_of(z, labels)
    window = kernel_window("gaussian", 5, 2.0, "sum").tolist()
    loop_fds = reference.OfficialFDS(0, 120, dim, window, dtype=torch.float32)
    for epoch in range(2):
        loop_fds.end_epoch(seen_features(len(labels), dim), labels, epoch)
    weights = lds_weights(labels, AGES, "sqrt_inv", "gaussian").tolist()
    pseudo = label_quantiles(labels, rows, 0.5, 0.0, 121.0).tolist()
    picks = iter(lambda: int(torch.randint(1 << 30, (1,), generator=generator)), -1)

    def ours() -> None:
        model.loss(given).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated

    def loop_ranksim() -> Tensor:
        kept = reference.one_per_label(y, lambda n: next(picks) % n)
        return reference.ranksim_loss(z[kept], y[kept], 2.0)

    def loops() -> None:
        h = loop_fds.smooth(z, y, 2)
        pred = model.output(h)[:, 0]
        loss = ((pred - y).abs() * torch.tensor([weights[i] for i in range(rows)])).mean()
        loss = loss + 100.0 * loop_ranksim()
        loss = loss + reference.dist_loss(pred, pseudo, lambda target, value: (value - target).abs())
        loss.backward()  # type: ignore[no-untyped-call]

    took = seconds({"ours": ours, "loops": loops}, 30, warm=True)  # as in training, where a step follows its like
    yield Measurement(f"step of {FULL}, B={rows}, D={dim}, head only", took["ours"], "loops", took["loops"], 6.0)

    fds = model.methods["fds"]
    assert isinstance(fds, FDS)
    detached = z.detach()
    features, sink = detached.numpy(), np.empty((rows, dim), np.float32)

    def copies() -> None:
        for _ in range(COPIES):
            np.copyto(sink, features)

    took = seconds(
        {
            "ours": lambda: fds.calibrate(detached, given),
            "loops": lambda: loop_fds.smooth(detached, y, 2),
            "copies": copies,
        },
        50,
    )
    what, rival = f"FDS calibrate, B={rows}, D={dim}", f"{COPIES} numpy copies of the features"
    yield Measurement(what, took["ours"], "loops", took["loops"], at_least_ratio=3.0)
    yield Measurement(what, took["ours"], rival, took["copies"], at_most_share=1.0)

    stream = torch.Generator().manual_seed(0)
    took = seconds(
        {
            "ours": lambda: ranksim_loss(z, y, 2.0, stream).backward(),  # type: ignore[no-untyped-call]
            "loops": lambda: loop_ranksim().backward(),  # type: ignore[no-untyped-call]
            "copies": copies,
        },
        30,
    )
    what = f"RankSim with gradient, B={rows}, D={dim}"
    yield Measurement(what, took["ours"], "loops", took["loops"], at_least_ratio=3.0)
    yield Measurement(what, took["ours"], rival, took["copies"], at_most_share=2.0)


COSTLY: Mapping[str, float] = {
    **dict.fromkeys(
        ("bmse", "beta_nll", "evidential", "uvote", "balanced_hl_gauss", "grc", "pseudo_counts", "ldam"), 1.5
    ),
    **{f"l1 + {name}": 1.5 for name in ("denseweight", "gar", "ordinal_entropy", "cmixup")},
    **{f"l1 + {name}": 2.5 for name in ("reconstruct", "conr", "srl")},  # two layers; all pairs; all rows and centres
    **{f"l1 + {name}": 4.0 for name in ("rnc", "group_contrast")},  # sorts all pairs
    "l1 + vir": 20.0,  # two layers of D × D
}
"""Bounds on a step, as shares of one of the full recipe."""


def parts(rows: int = 256, dim: int = 2048) -> Iterator[Measurement]:
    """A step with each of the other parts that cost something on given features, against one of the full recipe."""
    generator = torch.Generator().manual_seed(0)
    labels = ages(4096, generator)
    z = torch.randn(rows, dim, generator=generator, requires_grad=True)
    given = batch_of(z, labels)
    models = {recipe: model_of(recipe, nn.Identity(), dim, labels) for recipe in ("l1", FULL, *COSTLY)}
    took = seconds(
        {recipe: lambda model=model: model.loss(given).backward() for recipe, model in models.items()},  # type: ignore[misc]
        15,
        warm=True,
    )
    for recipe, share in COSTLY.items():
        rival = f"of l1 {took['l1'] * 1e3:.2f} ms, of {FULL}"
        what = f"step of {recipe}, B={rows}, D={dim}, head only"
        yield Measurement(what, took[recipe], rival, took[FULL], at_most_share=share)


def bins() -> Iterator[Measurement]:
    """Bins of 5,249 scores, against a search for every label."""
    generator = torch.Generator().manual_seed(0)
    scores = (5 * torch.rand(5249, generator=generator)).numpy()

    def loops() -> None:
        for score in scores:
            _ = next((b for b in range(SCORES.bins) if SCORES.edges[b + 1] > score), SCORES.bins - 1)

    took = seconds({"ours": lambda: SCORES.bin(scores), "loops": loops}, 30, warm=True)
    yield Measurement("bins of 5,249 STS-B scores", took["ours"], "loops", took["loops"], at_least_ratio=20.0)


class Bottleneck(nn.Module):
    """A residual block of ResNet-50."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.path = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = inputs == outputs and stride == 1
        self.skip = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Activations `[B, 4·width, …]`."""
        return torch.relu(self.path(x) + self.skip(x))


def resnet50() -> nn.Sequential:
    """ResNet-50 up to its 2,048 pooled features."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    inputs = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, stride if block == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def images(rows: int = 64, side: int = 64, dim: int = 2048) -> Iterator[Measurement]:
    """What the methods add to a step of ResNet-50, and streaming statistics against a second pass."""
    generator = torch.Generator().manual_seed(0)
    labels = ages(4096, generator)
    given = batch_of(torch.randn(rows, 3, side, side, generator=generator), labels)
    encoder = resnet50()
    models = {
        "l1": model_of("l1", encoder, dim, labels),
        "full": model_of(FULL, encoder, dim, labels),
    }

    def step(name: str) -> Callable[[], None]:
        return lambda: models[name].loss(given).backward()  # type: ignore[no-untyped-call]

    def forward() -> None:
        with torch.no_grad():
            encoder(given.x)

    took = seconds({"l1": step("l1"), "full": step("full"), "forward": forward}, 7)
    # The difference of two long times is noise; what the methods add is timed on given features instead.
    z = torch.randn(rows, dim, generator=generator, requires_grad=True)
    heads = {name: model_of(recipe, nn.Identity(), dim, labels) for name, recipe in (("l1", "l1"), ("full", FULL))}
    streaming = model_of("l1 + fds", nn.Identity(), dim, labels, {"fds.statistics": "streaming"})
    passing = model_of("l1 + fds", nn.Identity(), dim, labels)
    on_z = batch_of(z, labels)
    parts = seconds(
        {
            name: lambda model=model: model.loss(on_z).backward()  # type: ignore[misc]
            for name, model in {**heads, "streaming": streaming, "pass": passing}.items()
        },
        50,
    )
    what = f"ResNet-50, {side} px, B={rows}"
    yield Measurement(
        f"{what}: lds + fds + ranksim + distloss add",
        parts["full"] - parts["l1"],
        f"the step with l1 alone (whole steps: {took['full'] / took['l1']:.3f} of it),",
        took["l1"],
        at_most_share=0.05,
    )
    yield Measurement(
        f"{what}: streaming FDS statistics add",
        max(parts["streaming"] - parts["pass"], 1e-9),
        f"the step (a second pass adds {took['forward'] / took['l1']:.0%}),",
        took["l1"],
        at_most_share=0.02,
    )


def measure() -> Iterator[Measurement]:
    """Every measurement, one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for group in (steps, parts, bins, images):
            yield from group()
    finally:
        torch.set_num_threads(threads)


def main() -> int:
    """Print every measurement; 1 when a bound is broken."""
    broken = 0
    for measurement in measure():
        sys.stdout.write(f"{measurement}\n")
        sys.stdout.flush()
        broken |= not measurement.holds
    return int(broken)


if __name__ == "__main__":
    raise SystemExit(main())
