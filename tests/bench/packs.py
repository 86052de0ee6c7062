"""Packs against one trial per process: the arithmetic is the same, bit for bit, and the time is not."""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from statistics import harmonic_mean, median
from typing import Any

import torch
from torch import Tensor, nn

from clusters.profile import profile
from orchestrator.engine.observer import Observer
from orchestrator.engine.tune import sweep
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Record
from orchestrator.study.cells import Trial, expand
from orchestrator.study.planner import Planner
from orchestrator.study.resources import MEMBERS
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.loop import Fit
from workloads.pack import Pack, Work
from workloads.recipe import Recipe
from workloads.training import settle

ROUNDS = 5
RECIPES = ("l1", "l1 + lds + fds + ranksim + distloss")


class _Ends(Observer):
    """An observer that notes when the first trial began and when the last one ended."""

    def __init__(self) -> None:
        self.first = self.last = 0.0
        self.trials = 0

    def began(self, trial: Trial) -> None:
        """Note the first."""
        self.first = self.first or time.monotonic()

    def finished(self, trial: Trial, record: Record) -> None:
        """Note the last."""
        assert record.status == "completed"
        self.last, self.trials = time.monotonic(), self.trials + 1

    @property
    def per_hour(self) -> float:
        """Trials."""
        return 3600 * self.trials / (self.last - self.first)


def _fit(recipe: str) -> Fit:
    workload = WORKLOADS["nhanes-sbp"]
    parsed = Recipe.parse(recipe)
    settings = settle(parsed, workload.defaults(parsed.objective), {"train.epochs": ROUNDS + 1})
    return Fit(workload, workload.load(None), parsed, settings, 0, torch.device("cpu"))


def _epochs(recipe: str, members: int) -> list[float]:
    """Seconds of the processor for an epoch of a member, each."""

    def work() -> Work[int]:
        run = _fit(recipe)
        while len(run.curve) <= ROUNDS:
            yield from run.steps()
            yield len(run.curve)

    pack = Pack([work() for _ in range(members)])
    taken = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        pack.advance()
        taken.append((time.process_time() - start) / members)
    return taken[1:]  # the first one makes the models


def _plain() -> list[float]:
    """Seconds of the processor for an epoch of a plain loop: network, rows and batches of `_fit`, and no validation."""
    layers, x, y, size = _bare()
    model = nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def epoch() -> None:
        for rows in torch.randperm(len(y)).split(size):
            optimizer.zero_grad()
            nn.functional.l1_loss(model(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return _timed(epoch)


def _stacked() -> list[float]:
    """The same of a network that is one of several, each with rows of its own, whose calls are batched."""
    layers, x, y, size = _bare()
    weights = {
        layer: [own.detach().expand(MEMBERS, *own.shape).clone().requires_grad_() for own in layer.parameters()]
        for layer in layers
    }
    optimizer = torch.optim.AdamW([own for held in weights.values() for own in held], fused=True)

    def epoch() -> None:
        for rows in torch.stack([torch.randperm(len(y)) for _ in range(MEMBERS)]).split(size, dim=1):
            optimizer.zero_grad()
            out = x[rows]
            for layer, held in weights.items():
                out = torch.baddbmm(held[1].unsqueeze(1), out, held[0].transpose(1, 2)) if held else layer(out)
            (out - y[rows]).abs().mean(dim=(1, 2)).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return [seconds / MEMBERS for seconds in _timed(epoch)]


def _bare() -> tuple[list[nn.Module], Tensor, Tensor, int]:
    """The layers of `_fit`, inputs and labels of its rows, and how many are a batch."""
    fit = _fit("l1")
    train = fit.data.train
    x, y = train.inputs(torch.arange(len(train.y)), fit.device), train.y.unsqueeze(1)
    return [*fit.model.encoder.children(), fit.model.head], x, y, fit.hparams.batch_size


def _timed(epoch: Callable[[], None]) -> list[float]:
    taken = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        epoch()
        taken.append(time.process_time() - start)
    return taken[1:]


def _medians(*works: Callable[[], list[float]]) -> list[float]:
    """Median seconds of each, taken in turns."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(2):
        for seconds, work in zip(taken, works, strict=True):
            seconds += work()
    return [median(seconds) for seconds in taken]


def epochs() -> list[tuple[str, str]]:
    """An epoch of plain loops, of a trial in a pack and alone, on one core."""
    torch.set_num_threads(1)
    plain, stacked = _medians(_plain, _stacked)
    rows = [
        ("an epoch of a plain loop of the same network", f"{1000 * plain:.1f} ms of a core, without validation"),
        (f"  one of {MEMBERS} whose calls are batched", f"{1000 * stacked:.1f} ms; ratio {plain / stacked:.2f}"),
    ]
    for recipe in RECIPES:
        alone, packed = _medians(partial(_epochs, recipe, 1), partial(_epochs, recipe, MEMBERS))
        rows.append((f"an epoch of {recipe}, one of {MEMBERS} in step", f"{1000 * packed:.1f} ms of a core"))
        rows.append(("  by itself", f"{1000 * alone:.1f} ms; ratio {alone / packed:.2f}"))
    return rows


def _swept(pack: str) -> float:
    """Trials per hour of the quickstart's recipes, a few trials of each."""
    observer = _Ends()
    few: dict[str, Any] = {"tune.trials": 2, "tune.rescore": 1, "evaluate.seeds": 2}
    with tempfile.TemporaryDirectory() as storage:
        changes = [f"{key}={value}" for key, value in {**few, "storage": storage, "resources.pack": pack}.items()]
        study, ledger = Study.load("quickstart", changes), Ledger(storage)
        sweep(study, Planner(study, expand(study), ledger.find), ledger, profile("local"), observer)
    return observer.per_hour


def sweeps() -> list[tuple[str, str]]:
    """Trials of the quickstart per hour, in packs and one per process: twice each, and between the others."""
    profile("local").apply()
    first, *others, last = (_swept(pack) for pack in ("auto", "off", "off", "auto"))
    packed, alone = harmonic_mean([first, last]), harmonic_mean(others)
    return [
        ("quickstart in packs", f"{packed:,.0f} trials per hour"),
        ("  one trial per process", f"{alone:,.0f}; ratio {packed / alone:.2f}"),
    ]


def main() -> list[tuple[str, str]]:
    """Both."""
    return [*epochs(), *sweeps()]
