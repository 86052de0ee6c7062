"""What a cell tries next: a pure function of the cell, the trial's number and the results that it may know."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from orchestrator.ledger.records import Settings
from orchestrator.study.axes import Axis
from orchestrator.study.cells import Cell
from orchestrator.study.hyperparameters import declared
from orchestrator.study.samplers import sampler_named
from workloads.hparams import Choice, Float, Int, Value
from workloads.metrics import HIGHER_IS_BETTER
from workloads.seeds import seed_of

START: Final = frozenset((0, 1, 2, 3, *range(6, 24, 3)))
"""Numbers of the trials with which samplers that learn start: the first setting, then random ones.

Four at first, then every third until there are Optuna's ten. They depend on the number alone and not on the budget, so
that such a sampler acts in a small budget, and a larger budget keeps the trials of a smaller one.
"""


@dataclass(frozen=True)
class Observation:
    """What the sampler knows of an earlier trial: `value` None while it runs, intermediate values by epoch.

    Of several objectives, `value` has the score of each.
    """

    settings: Settings
    state: TrialState
    value: float | tuple[float, ...] | None = None
    curve: tuple[tuple[int, float], ...] = ()

    @property
    def score(self) -> float:
        """The value of a completed trial, of one objective."""
        assert isinstance(self.value, float)
        return self.value


Direction: TypeAlias = Literal["minimize", "maximize"]


def direction(rule: str) -> Direction:
    """Whether a score named `split/metric/region` is to be minimised or maximised."""
    return "maximize" if rule.split("/")[1] in HIGHER_IS_BETTER else "minimize"


def sign_of(rule: str) -> float:
    """1 where less is better, else -1: times this, every score is an error."""
    return 1.0 if direction(rule) == "minimize" else -1.0


def suggest(
    cell: Cell, sampler: str, rule: str | Sequence[str], number: int, history: Sequence[Observation]
) -> dict[str, Value]:
    """Settings of the number-th tuning trial of a cell; the first is the published (or default) setting.

    The first has what the paper sets beside the searched hyperparameters too, a batch size or a rate of its own.

    The sampler is made anew with a seed of its own and told the whole history, so that a study that was interrupted
    suggests what it would have suggested.
    """
    if number == 0:
        return first_setting(cell)
    rules = [rule] if isinstance(rule, str) else rule
    return sampler_named(sampler).suggest(cell, number, history, [direction(each) for each in rules])


def ask(
    cell: Cell,
    sampler: optuna.samplers.BaseSampler,
    directions: Sequence[Direction],
    history: Sequence[Observation] = (),
) -> optuna.trial.Trial:
    """The Optuna trial behind a suggestion of one of its samplers, which is told these observations."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=list(directions), sampler=sampler)
    study.add_trials([frozen(cell, seen, len(directions)) for seen in history])
    trial = study.ask()
    values: dict[str, Value] = {}
    for axis in cell.axes:
        if acts(cell, axis, values):
            values[axis.name] = _draw(trial, axis)
    return trial


def seed_for(cell: Cell, number: int) -> int:
    """The seed of a suggestion, 32 bits."""
    return seed_of(f"{cell.workload}/{cell.recipe}", "suggestion", number, *cell.salt) % 2**32


def acts(cell: Cell, axis: Axis, values: dict[str, Value]) -> bool:
    """Whether an axis's condition holds, given what was drawn before it and what the cell fixes."""
    if not axis.only:
        return True

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


def conditional(cell: Cell) -> str | None:
    """The first condition of a cell's space, in words; None without any."""
    found = ((axis.name, *condition) for axis in cell.axes for condition in axis.only.items())
    return next((f"{name} acts only if {on} is {' or '.join(map(str, of))}" for name, on, of in found), None)


def frozen(cell: Cell, seen: Observation, objectives: int = 1) -> FrozenTrial:
    """An observation as Optuna keeps it: parameters that a condition left out are left out here too.

    A first setting outside the searched range, such as a weight decay of 0, is told as the nearest one inside.
    """
    axes = {axis.name: axis for axis in cell.axes}
    params: dict[str, Any] = {name: axes[name].inside(value) for name, value in seen.settings.items() if name in axes}
    lost = objectives > 1 and seen.state is TrialState.PRUNED  # Optuna prunes by one objective only
    return optuna.trial.create_trial(
        state=TrialState.FAIL if lost else seen.state,
        values=[seen.value] if isinstance(seen.value, float) else seen.value,
        params=params,
        distributions={name: distribution(axes[name]) for name in params},
        intermediate_values=dict(seen.curve),
    )
