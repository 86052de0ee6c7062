"""Laws of hyperparameters: defaults lie in their ranges, and each of them moves something."""

from collections.abc import Iterator, Mapping

import pytest
import torch

from part_runs import PARTS, Finished, fit, outcome, recipe_with
from workloads.hparams import Choice, Field, Value
from workloads.recipe import Recipe


def every_hparam() -> Iterator[tuple[str, Field]]:
    for name, part in PARTS.items():
        for field in part.Hparams.declared().values():
            yield name, field


HPARAMS = [pytest.param(name, field, id=f"{name}.{field.name}") for name, field in every_hparam()]

REVEALING: Mapping[str, Mapping[str, Value]] = {
    "conr.near": {"conr.near": 5.0},
    "two_stages.optimizer": {"two_stages.optimizer": "sgd"},
    "two_stages.decay": {"train.weight_decay": 0.1},
    "lws.share": {"lws.share": 0.5},
    "lws.lr": {"lws.share": 0.5},
    "lds.truncate": {"lds.kernel": "triang"},
    "fds.start_smooth": {"fds.start_smooth": 3},
    "fds.first_bin": {"fds.first_bin": 3},
    "fds.last_bin": {"fds.last_bin": 12},
    "inv.clip_low": {"inv.clip_low": 0},
    "lds.clip_low": {"lds.clip_low": 0},
    "inv.clip_high": {"inv.clip_high": 8},
    "lds.clip_high": {"lds.clip_high": 8},
    "lds.first_bin": {"lds.first_bin": 6},
    "smogn.noise": {"smogn.rare": 0.5},
    "smoter.rare": {"smoter.rare": 0.5},
    "smogn.rare": {"smogn.rare": 0.5},
}
"""Settings under which a hyperparameter can show: values between the ends of a wide range, or siblings."""


TELLING: Mapping[str, Recipe] = {
    "ranksim.features": Recipe("l1", ("fds", "ranksim")),  # h differs from z only where something calibrates
    "two_stages.first": Recipe("bmse", ("rnc",), "two_stages"),
    "two_stages.methods": Recipe("l1", ("rnc",), "two_stages"),
    "drw.share": Recipe("l1", ("sqinv",), "drw"),
}
"""Recipes in which a hyperparameter can show, where the plainest cannot."""


@pytest.mark.parametrize(("part", "field"), HPARAMS)
def test_every_default_lies_in_its_range(part, field):
    assert field.range.check(field.default) == field.default


def candidates(part: str, field: Field) -> list[Value]:
    """Values other than the default: all of a choice or the ends of a range, unless one reveals more."""
    limits, name = field.range, f"{part}.{field.name}"
    revealing = REVEALING.get(name, {}).get(name)
    values = limits.options if isinstance(limits, Choice) else (limits.low, limits.high)
    return [value for value in (values if revealing is None else (revealing,)) if value != field.default]


@pytest.mark.parametrize(("part", "field"), HPARAMS)
def test_every_hparam_moves_something(part, field):
    name = f"{part}.{field.name}"
    recipe = recipe_with(part)
    recipe = TELLING.get(name, recipe)
    context = {f"{part}.{sibling}": allowed[0] for sibling, allowed in field.only.siblings.items()}
    context |= {key: value for key, value in REVEALING.get(name, {}).items() if key != name}
    base = Finished.of(recipe, context).outcome
    values = candidates(part, field)
    moved = (not _same_run(base, outcome(fit(recipe, {**context, name: value}))) for value in values)
    assert values
    # Each option of a choice is something else; of a number, one value may lie beyond what the data can show.
    assert all(moved) if isinstance(field.range, Choice) else any(moved)


def _same_run(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[key], b[key]) for key in ("loss", "prediction"))
