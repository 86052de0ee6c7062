"""Runs trained by two processes: this one, and one beside it that trains the same."""

import multiprocessing
import pickle
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import nn

from toys import DENSE, INPUTS, TOYS
from workloads.loop import Fit
from workloads.ranks import ALONE, Ranks, join, meeting
from workloads.recipe import Recipe
from workloads.training import settle
from workloads.workload import Data, Workload

CPU = torch.device("cpu")


def _plain(data: Data) -> tuple[nn.Module, int]:
    return nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(), nn.Linear(8, 6)), 6


@dataclass(frozen=True)
class Case:
    """A run to train on toys, in full or from a state."""

    recipe: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    dense: bool = False
    state: Mapping[str, Any] | None = None

    @property
    def workload(self) -> Workload:
        """The toy, without BatchNorm, which two processes share on GPUs only."""
        return DENSE["regression"] if self.dense else replace(TOYS["regression"], encoder=_plain)

    def run(self, ranks: Ranks = ALONE, epochs: int | None = None) -> Fit:
        """The run, trained to its end or for some epochs."""
        recipe, toy = Recipe.parse(self.recipe), self.workload
        complete = settle(recipe, toy.settings, {"train.epochs": 4, **self.settings})
        fit = Fit(toy, toy.load(None), recipe, complete, 0, CPU, ranks=ranks)
        if self.state is not None:
            fit.load_state_dict(self.state)
        for epoch in fit:
            if epoch.epoch + 1 == epochs:
                break
        return fit


def _serve(tube: Connection) -> None:
    warnings.simplefilter("ignore")
    while True:
        case, epochs, port = pickle.loads(tube.recv_bytes())
        try:
            ranks = join(1, 2, meeting(2, port), CPU)
            with closing(ranks):
                case.run(ranks, epochs)
            tube.send(None)
        except Exception:
            tube.send(traceback.format_exc())


class Beside:
    """A process beside this one."""

    def __init__(self, tube: Connection) -> None:
        self._tube = tube

    def run(self, case: Case, epochs: int | None = None) -> Fit:
        """The run as two processes train it; this one goes on with it alone."""
        store = meeting(2)
        self._tube.send_bytes(pickle.dumps((case, epochs, store.port)))  # plain: tensors would be shared memory
        try:
            ranks = join(0, 2, store, CPU)
            with closing(ranks):
                fit = case.run(ranks, epochs)
        finally:
            said = self._tube.recv()
        assert said is None, said
        return fit


@contextmanager
def process() -> Iterator[Beside]:
    """Start it, and end it at the end."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    other = spawn.Process(target=_serve, args=(there,), daemon=True)
    other.start()
    there.close()
    try:
        yield Beside(here)
    finally:
        other.kill()
        here.close()
