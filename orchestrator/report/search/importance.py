"""Which hyperparameters matter: the share of the variance of scores that each explains, by Optuna's fANOVA."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import optuna

from orchestrator.report.search.tried import tried
from orchestrator.study.axes import Axis
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.space import direction, distribution
from workloads.hparams import Value
from workloads.labels import REGIONS

ENOUGH: Final = 30
"""Completed trials of a cell below which nothing is said: a forest of fewer explains noise."""
TREES: Final = 32


@dataclass(frozen=True)
class Importance:
    """By region of the metric, the share of every hyperparameter, which sum to 1; `unsaid` why there is nothing.

    `conditional` are hyperparameters that act in some trials only, and are not assessed.
    """

    shares: Mapping[str, Mapping[str, float]]
    conditional: tuple[str, ...] = ()
    unsaid: str = ""


def importance(plan: CellPlan, rule: str) -> Importance:
    """What of a cell's search matters in every region that has the metric of the rule."""
    axes = {axis.name: axis for axis in plan.cell.axes}
    found = tried(plan, rule)
    if not axes:
        return Importance({}, unsaid="nothing is searched")
    if len(found) < ENOUGH:
        return Importance({}, unsaid=f"{len(found)} completed trials: importance is told from {ENOUGH} on")
    always = [name for name in axes if all(name in one.settings for one in found)]
    split, metric, _ = rule.split("/")
    shares: dict[str, dict[str, float]] = {}
    for region in ("all", *REGIONS):
        name = f"{split}/{metric}/{region}"
        values = [one.record.score(name) for one in found]
        pairs = [(one.settings, value) for one, value in zip(found, values, strict=True) if value is not None]
        if len(pairs) < ENOUGH or not always:
            continue
        params = [{key: axes[key].inside(settings[key]) for key in always} for settings, _ in pairs]
        shares[region] = _shares(name, params, [value for _, value in pairs], axes)
    return Importance(shares, tuple(name for name in axes if name not in always))


def _shares(
    rule: str, params: Sequence[dict[str, Value]], values: Sequence[float], axes: Mapping[str, Axis]
) -> dict[str, float]:
    """Shares by hyperparameter, the largest first."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=direction(rule))
    study.add_trials(
        [
            optuna.trial.create_trial(params=one, distributions={k: distribution(axes[k]) for k in one}, value=value)
            for one, value in zip(params, values, strict=True)
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}
