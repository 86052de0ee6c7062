"""Random search, in which a part tries the same settings in every recipe."""

from collections.abc import Sequence
from typing import Any

import optuna

from orchestrator.study.cells import Cell
from orchestrator.study.samplers.family import Family
from orchestrator.study.space import Direction, Observation, acts, ask, distribution, seed_for
from workloads.hparams import Value
from workloads.seeds import seed_of


def paired(cell: Cell, number: int) -> dict[str, Value]:
    """A random setting, each hyperparameter of a seed of its own: its value does not depend on what else is searched.

    So a part tries the same settings in every recipe, and so do learning rates and weight decays.
    """
    names: tuple[str | int, ...] = (cell.workload, "suggestion", number, *cell.salt)
    values: dict[str, Value] = {}
    for axis in cell.axes:
        if acts(cell, axis, values):
            limits, sampler = distribution(axis), optuna.samplers.RandomSampler(seed_of(axis.name, *names) % 2**32)
            nothing: Any = None  # a random sampler looks at no study
            drawn = sampler.sample_independent(nothing, nothing, axis.name, limits)
            values[axis.name] = limits.to_external_repr(limits.to_internal_repr(drawn))
    return values


class Random(Family):
    """Independent draws; under protocol 1 those of a trial have one seed."""

    words: str = "random"
    protocols: frozenset[int] = frozenset({1, 2})

    def learns(self, number: int, protocol: int) -> bool:
        """Never."""
        return False

    def suggest(
        self, cell: Cell, number: int, history: Sequence[Observation], directions: Sequence[Direction]
    ) -> dict[str, Value]:
        """A draw."""
        if cell.protocol > 1:
            return paired(cell, number)
        return dict(ask(cell, optuna.samplers.RandomSampler(seed_for(cell, number)), directions).params)
