"""Bayesian optimisation with a Gaussian process, as Optuna has it."""

import warnings
from collections.abc import Sequence

import optuna

from orchestrator.study.cells import Cell
from orchestrator.study.samplers.family import Family
from orchestrator.study.samplers.paired import paired
from orchestrator.study.space import Direction, Observation, ask, conditional, seed_for
from workloads.hparams import Value


class Gp(Family):
    """Starts as TPE does. It models one space of numbers and words, without conditions."""

    words: str = "by a Gaussian process"

    def suggest(
        self, cell: Cell, number: int, history: Sequence[Observation], directions: Sequence[Direction]
    ) -> dict[str, Value]:
        """The point of the highest expected improvement, or a random one at the start."""
        if not self.learns(number, cell.protocol):
            return paired(cell, number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.GPSampler(seed=seed_for(cell, number), n_startup_trials=1)
            return dict(ask(cell, sampler, directions, history).params)

    def refused(self, cell: Cell, trials: int) -> str:
        """A space with conditions."""
        if (told := conditional(cell)) is None:
            return ""
        return (
            f"tune.sampler: gp models spaces without conditions: got {cell.name}, where {told}; "
            "fix one of them under space, or take tpe"
        )
