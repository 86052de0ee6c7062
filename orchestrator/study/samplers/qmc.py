"""Quasi-random search: points of one scrambled Sobol sequence (Owen 1998), spread more evenly than random ones."""

import warnings
from collections.abc import Sequence

from scipy.stats.qmc import Sobol

from orchestrator.study.axes import at
from orchestrator.study.cells import Cell
from orchestrator.study.samplers.family import Family
from orchestrator.study.space import Direction, Observation, acts, seed_for
from workloads.hparams import Value


class Qmc(Family):
    """The k-th suggestion is the k-th point, one coordinate per axis; what a condition leaves out ignores its own."""

    words: str = "quasi-random"
    unshaped: str = words

    def learns(self, number: int, protocol: int) -> bool:
        """Never."""
        return False

    def suggest(
        self, cell: Cell, number: int, history: Sequence[Observation], directions: Sequence[Direction]
    ) -> dict[str, Value]:
        """A point of the sequence."""
        if not cell.axes:
            return {}
        sequence = Sobol(len(cell.axes), scramble=True, rng=seed_for(cell, 0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # one point at a time is no power of two
            shares = sequence.fast_forward(number).random(1)[0]
        values: dict[str, Value] = {}
        for axis, share in zip(cell.axes, shares, strict=True):
            if acts(cell, axis, values):
                values[axis.name] = at(axis, float(share))
        return values
