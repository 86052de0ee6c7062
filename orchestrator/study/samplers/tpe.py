"""The tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), as Optuna has it, of any number of scores."""

import warnings
from collections.abc import Sequence
from typing import Final

import optuna

from orchestrator.study.cells import Cell
from orchestrator.study.samplers.family import Family
from orchestrator.study.samplers.paired import paired
from orchestrator.study.space import START, Direction, Observation, ask, seed_for
from workloads.hparams import Value

OPTUNAS_START: Final = 10
"""Results before which TPE is random, by default."""


class Tpe(Family):
    """TPE after a random start; `group`: what is under a condition is modelled with what acts together with it."""

    words: str = "by TPE"
    protocols: frozenset[int] = frozenset({1, 2})

    def learns(self, number: int, protocol: int) -> bool:
        """Under protocol 1 as soon as there are Optuna's ten results, which failures put off."""
        return protocol == 1 or number not in START

    def random(self, trials: int, protocol: int) -> int:
        """Those of the start."""
        return min(trials, OPTUNAS_START) if protocol == 1 else super().random(trials, protocol)

    def suggest(
        self, cell: Cell, number: int, history: Sequence[Observation], directions: Sequence[Direction]
    ) -> dict[str, Value]:
        """A draw of the model, or a random one at the start."""
        if not self.learns(number, cell.protocol):
            return paired(cell, number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group`, on purpose
            sampler = optuna.samplers.TPESampler(
                seed=seed_for(cell, number),
                n_startup_trials=OPTUNAS_START if cell.protocol == 1 else 1,
                multivariate=True,
                group=True,
            )
        return dict(ask(cell, sampler, directions, history).params)
