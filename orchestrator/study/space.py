"""What a cell tries next: a pure function of the cell, the trial's number and the results that it may know."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from orchestrator.ledger.records import Settings
from orchestrator.study.cells import Axis, Cell, declared
from workloads.hparams import Choice, Float, Int, Value
from workloads.metrics import HIGHER_IS_BETTER
from workloads.seeds import seed_of

SAMPLERS: Final[dict[str, Callable[[int], optuna.samplers.BaseSampler]]] = {
    # group: hyperparameters under a condition are modelled with those that act together with them
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}
"""Samplers by the study's `tune.sampler`."""


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


def suggest(cell: Cell, sampler: str, rule: str, number: int, history: Sequence[Observation]) -> dict[str, Value]:
    """Settings of the number-th tuning trial of a cell; the first is the published (or default) setting.

    The first has what the paper sets beside the searched hyperparameters too, a batch size or a rate of its own.

    The sampler is made anew with a seed of its own and told the whole history, so that a study that was interrupted
    suggests what it would have suggested.
    """
    if number == 0:
        return _active(cell, {axis.name: axis.first for axis in cell.axes})
    return dict(ask(cell, sampler, rule, number, history).params)


def ask(cell: Cell, sampler: str, rule: str, number: int, history: Sequence[Observation]) -> optuna.trial.Trial:
    """The Optuna trial behind a suggestion."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # TPE's `group`, on purpose
        made = SAMPLERS[sampler](seed_of(cell.name, "suggestion", number) % 2**32)
    study = optuna.create_study(direction=direction(rule), sampler=made)
    study.add_trials([_frozen(cell, seen) for seen in history])
    trial = study.ask()
    values: dict[str, Value] = {}
    for axis in cell.axes:
        if _acts(cell, axis, values):
            values[axis.name] = _draw(trial, axis)
    return trial


def _acts(cell: Cell, axis: Axis, values: dict[str, Value]) -> bool:
    """Whether an axis's condition holds, given what was drawn before it and what the cell fixes."""

    def value(name: str) -> Value:
        part, _, hparam = name.partition(".")
        return values.get(name, cell.fixed.get(name, declared(part)[hparam].default))

    return all(value(name) in allowed for name, allowed in axis.only.items())


def _active(cell: Cell, values: dict[str, Value]) -> dict[str, Value]:
    kept = dict(cell.published)
    for axis in cell.axes:
        if _acts(cell, axis, kept):
            kept[axis.name] = values[axis.name]
    return kept


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
    """An observation as Optuna keeps it: parameters that a condition left out are left out here too."""
    axes = {axis.name: axis for axis in cell.axes}
    params: dict[str, Any] = {name: value for name, value in seen.settings.items() if name in axes}
    return optuna.trial.create_trial(
        state=seen.state,
        value=seen.value,
        params=params,
        distributions={name: distribution(axes[name]) for name in params},
        intermediate_values=dict(seen.curve),
    )
