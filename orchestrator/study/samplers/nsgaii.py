"""NSGA-II (Deb et al., IEEE TEC 2002), as Optuna has it, with generations that follow from the results alone."""

import warnings
from collections.abc import Sequence
from typing import Any, Final

import optuna
from optuna.samplers.nsgaii import PolynomialMutation, SBXCrossover
from optuna.trial import FrozenTrial, TrialState

from orchestrator.study.cells import Cell
from orchestrator.study.samplers.family import Family
from orchestrator.study.samplers.paired import paired
from orchestrator.study.space import Direction, Observation, ask, seed_for
from workloads.hparams import Value

POPULATION: Final = 8
"""Completed trials of a generation, and parents of the next: searches have tens of trials, not Optuna's hundreds."""


class Generations(optuna.samplers.NSGAIISampler):
    """Optuna keeps the generation of every trial in its study; here it is the place among the completed ones."""

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The completed trials of a generation, in the order of their numbers."""
        return _completed(study)[generation * POPULATION : (generation + 1) * POPULATION]

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """That of a trial that is asked for: after all that are complete."""
        return len(_completed(study)) // POPULATION


def _completed(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


class Nsgaii(Family):
    """The first generation is random; parents are the best of all so far, spread over the Pareto set.

    Numbers are crossed and mutated as in the paper (simulated binary crossover, polynomial mutation), words are taken
    from one of the parents. What is not in all trials, since it is under a condition, is drawn at random.
    """

    words: str = "by NSGA-II"

    def learns(self, number: int, protocol: int) -> bool:
        """After the first generation."""
        return number >= POPULATION

    def suggest(
        self, cell: Cell, number: int, history: Sequence[Observation], directions: Sequence[Direction]
    ) -> dict[str, Value]:
        """A child of two parents of the generations that are complete; random where none is."""
        if not self.learns(number, cell.protocol):
            return paired(cell, number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            operators: dict[str, Any] = {"mutation": PolynomialMutation(), "crossover": SBXCrossover()}
            sampler = Generations(population_size=POPULATION, seed=seed_for(cell, number), **operators)
            return dict(ask(cell, sampler, directions, history).params)
