"""What a cell tries next: a pure function of the cell, the trial's number and the results that it may know."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from orchestrator.ledger.records import Settings
from orchestrator.study.axes import Axis
from orchestrator.study.cells import Cell
from orchestrator.study.hyperparameters import declared
from workloads.hparams import Choice, Float, Int, Value
from workloads.metrics import HIGHER_IS_BETTER
from workloads.seeds import seed_of

OPTUNAS_START: Final = 10
"""Results before which TPE is random, by default."""
START: Final = frozenset((0, 1, 2, 3, *range(6, 24, 3)))
"""Numbers of the trials with which TPE starts: the first setting, then random ones.

Four at first, then every third until there are Optuna's ten. They depend on the number alone and not on the budget, so
that TPE acts in a small budget, and a larger budget keeps the trials of a smaller one.
"""


@dataclass(frozen=True)
class Observation:
    """What the sampler knows of an earlier trial: `value` None while it runs, intermediate values by epoch."""

    settings: Settings
    state: TrialState
    value: float | None = None
    curve: tuple[tuple[int, float], ...] = ()


def direction(rule: str) -> Literal["minimize", "maximize"]:
    """Whether a score named `split/metric/region` is to be minimised or maximised."""
    return "maximize" if rule.split("/")[1] in HIGHER_IS_BETTER else "minimize"


def sign_of(rule: str) -> float:
    """1 where less is better, else -1: times this, every score is an error."""
    return 1.0 if direction(rule) == "minimize" else -1.0


class Paired(optuna.samplers.RandomSampler):
    """Draws each hyperparameter by a seed of its own, so that its value does not depend on what else a cell searches.

    A part tries the same settings in every recipe, and so do learning rates and weight decays.
    """

    def __init__(self, cell: Cell, number: int) -> None:
        super().__init__()
        self._names: tuple[str | int, ...] = (cell.workload, "suggestion", number, *cell.salt)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: BaseDistribution) -> Any:
        """A value from the whole distribution."""
        drawn = optuna.samplers.RandomSampler(seed_of(param_name, *self._names) % 2**32)
        return drawn.sample_independent(study, trial, param_name, param_distribution)


def starts(trials: int, sampler: str, protocol: int) -> int:
    """Trials of a cell that no result has shaped, the first setting included."""
    if sampler == "random":
        return trials
    return min(trials, OPTUNAS_START) if protocol == 1 else sum(number in START for number in range(trials))


def learns(sampler: str, protocol: int, number: int) -> bool:
    """Whether results shape the suggestion with a number."""
    return sampler != "random" and (protocol == 1 or number not in START)


def suggest(cell: Cell, sampler: str, rule: str, number: int, history: Sequence[Observation]) -> dict[str, Value]:
    """Settings of the number-th tuning trial of a cell; the first is the published (or default) setting.

    The first has what the paper sets beside the searched hyperparameters too, a batch size or a rate of its own.

    The sampler is made anew with a seed of its own and told the whole history, so that a study that was interrupted
    suggests what it would have suggested.
    """
    if number == 0:
        return first_setting(cell)
    return dict(ask(cell, sampler, rule, number, history).params)


def ask(cell: Cell, sampler: str, rule: str, number: int, history: Sequence[Observation]) -> optuna.trial.Trial:
    """The Optuna trial behind a suggestion."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = SAMPLERS[cell.protocol][sampler](cell, number)
    study = optuna.create_study(direction=direction(rule), sampler=made)
    if isinstance(made, optuna.samplers.TPESampler):
        study.add_trials([_frozen(cell, seen) for seen in history])
    trial = study.ask()
    values: dict[str, Value] = {}
    for axis in cell.axes:
        if acts(cell, axis, values):
            values[axis.name] = _draw(trial, axis)
    return trial


def _seed(cell: Cell, number: int) -> int:
    return seed_of(f"{cell.workload}/{cell.recipe}", "suggestion", number, *cell.salt) % 2**32


def _tpe(seed: int, start: int) -> optuna.samplers.TPESampler:
    """TPE that is random until it knows `start` results.

    `group`: hyperparameters under a condition are modelled with those that act together with them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group`, on purpose
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=start, multivariate=True, group=True)


SAMPLERS: Final[dict[int, dict[str, Callable[[Cell, int], optuna.samplers.BaseSampler]]]] = {
    1: {
        "tpe": lambda cell, number: _tpe(_seed(cell, number), start=OPTUNAS_START),
        "random": lambda cell, number: optuna.samplers.RandomSampler(_seed(cell, number)),
    },
    2: {
        "tpe": lambda cell, number: Paired(cell, number) if number in START else _tpe(_seed(cell, number), start=1),
        "random": Paired,
    },
}
"""Makers of the sampler of one suggestion, by the study's `protocol` and `tune.sampler`."""


def acts(cell: Cell, axis: Axis, values: dict[str, Value]) -> bool:
    """Whether an axis's condition holds, given what was drawn before it and what the cell fixes."""

    def value(name: str) -> Value:
        part, _, hparam = name.partition(".")
        return values.get(name, cell.fixed.get(name, declared(part)[hparam].default))

    return all(value(name) in allowed for name, allowed in axis.only.items())


def first_setting(cell: Cell) -> dict[str, Value]:
    """The published (or default) setting, of all that acts in it."""
    made = dict(cell.published)
    for axis in cell.axes:
        if acts(cell, axis, made):
            made[axis.name] = axis.first
    return made


def _draw(trial: optuna.trial.Trial, axis: Axis) -> Value:
    limits = axis.range
    if isinstance(limits, Choice):
        chosen: Any = trial.suggest_categorical(axis.name, limits.options)
        return limits.check(chosen)
    if isinstance(limits, Int):
        return trial.suggest_int(axis.name, limits.low, limits.high, step=limits.step, log=limits.log)
    return trial.suggest_float(axis.name, limits.low, limits.high, log=limits.log)


def distribution(axis: Axis) -> BaseDistribution:
    """The Optuna distribution of an axis."""
    limits = axis.range
    if isinstance(limits, Choice):
        return optuna.distributions.CategoricalDistribution(limits.options)
    if isinstance(limits, Int):
        return optuna.distributions.IntDistribution(limits.low, limits.high, log=limits.log, step=limits.step)
    assert isinstance(limits, Float)
    return optuna.distributions.FloatDistribution(limits.low, limits.high, log=limits.log)


def _frozen(cell: Cell, seen: Observation) -> FrozenTrial:
    """An observation as Optuna keeps it: parameters that a condition left out are left out here too.

    A first setting outside the searched range, such as a weight decay of 0, is told as the nearest one inside.
    """
    axes = {axis.name: axis for axis in cell.axes}
    params: dict[str, Any] = {name: axes[name].inside(value) for name, value in seen.settings.items() if name in axes}
    return optuna.trial.create_trial(
        state=seen.state,
        value=seen.value,
        params=params,
        distributions={name: distribution(axes[name]) for name in params},
        intermediate_values=dict(seen.curve),
    )
