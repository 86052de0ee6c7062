"""CMA-ES (Hansen and Ostermeier 2001), by the package `cmaes` that Optuna's sampler is made of.

Optuna's own keeps the state of the evolution beside its trials; here it follows from the results alone.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from optuna.trial import TrialState

from orchestrator.study.axes import at, share_of
from orchestrator.study.cells import Cell
from orchestrator.study.samplers.family import Family
from orchestrator.study.space import Direction, Observation, conditional, seed_for
from workloads.extras import MissingExtra, need
from workloads.hparams import Choice, Value

SIGMA: Final = 1 / 6
"""The first step, of a unit cube: as Optuna's."""


class Cmaes(Family):
    """A generation is the next completed trials in the order of their numbers; the first mean is the first setting.

    Numbers are searched on their scale, mapped to [0, 1].
    """

    words: str = "by CMA-ES"
    several: bool = False

    def learns(self, number: int, protocol: int) -> bool:
        """Always: the first generation is drawn around the first setting."""
        return number > 0

    def suggest(
        self, cell: Cell, number: int, history: Sequence[Observation], directions: Sequence[Direction]
    ) -> dict[str, Value]:
        """A draw of the evolution after all generations that are complete."""
        from cmaes import CMA  # an extra, which `refused` asks for

        sign = 1.0 if directions[0] == "minimize" else -1.0
        told = [
            (np.array([share_of(axis, axis.inside(seen.settings[axis.name])) for axis in cell.axes]), sign * seen.score)
            for seen in history
            if seen.state is TrialState.COMPLETE
        ]
        bounds = np.tile([0.0, 1.0], (len(cell.axes), 1))
        first = np.array([share_of(axis, axis.inside(axis.first)) for axis in cell.axes])
        evolution = CMA(mean=np.clip(first, 0.0, 1.0), sigma=SIGMA, bounds=bounds, seed=seed_for(cell, number))
        size = evolution.population_size
        for start in range(0, len(told) - size + 1, size):
            evolution.tell(told[start : start + size])
        return {axis.name: at(axis, float(x)) for axis, x in zip(cell.axes, evolution.ask(), strict=True)}

    def refused(self, cell: Cell, trials: int) -> str:
        """A space with conditions, words, or fewer than two numbers, and a package that is missing."""
        try:
            need("cmaes")
        except MissingExtra as err:
            return f"tune.sampler: cmaes needs a package: {err}"
        words = [axis.name for axis in cell.axes if isinstance(axis.range, Choice)]
        told = conditional(cell) or (f"{words[0]} is one of a list" if words else None)
        if told is None and cell.axes and len(cell.axes) < 2:
            told = f"{cell.axes[0].name} alone is searched"
        if told is None:
            return ""
        return (
            f"tune.sampler: cmaes searches two or more numbers without conditions: got {cell.name}, where {told}; "
            "change that under space, or take tpe"
        )
