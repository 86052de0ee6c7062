"""Hyperparameters that a study names: those that exist, of parts that its recipes have."""

from collections.abc import Mapping, Sequence

from orchestrator.study.spec import Study
from workloads.hparams import Field, UnknownName
from workloads.recipe import PARTS, Recipe
from workloads.training import Training


def check_names(study: Study, recipes: Sequence[Recipe]) -> None:
    """Raises ValueError for a name under `space`, `first` or `train` that is of no part of the recipes, or no name."""
    used = {part for recipe in recipes for part in recipe.parts} | {"train"}
    for key, name in (*(("space", name) for name in study.space), *(("first", name) for name in study.first)):
        part, _, hparam = name.partition(".")
        if part != "train" and part not in PARTS:
            raise UnknownName("part", part, {*PARTS, "train"}, f"{key} '{name}'")
        if part not in used:
            raise ValueError(f"{key} names parts of its recipes: got '{name}', and no recipe has {part}; remove it")
        if hparam not in declared(part):
            raise UnknownName("hyperparameter", hparam, declared(part), f"{key} '{name}'")
    for name, value in study.train.items():
        if isinstance(value, Mapping):
            if name not in study.names:
                raise ValueError(
                    f"train sets hyperparameters, or has workloads of the study: got {name!r}; "
                    f"workloads: {', '.join(study.names)}"
                )
            for hparam in value:
                _known_training(hparam, f"train.{name}")
        else:
            _known_training(name, "train")


def _known_training(name: str, where: str) -> None:
    if name not in Training.declared():
        raise UnknownName("hyperparameter", name, Training.declared(), where)


def declared(part: str) -> dict[str, Field]:
    """Hyperparameters of a part, or of the loop (`train`)."""
    return Training.declared() if part == "train" else PARTS[part].Hparams.declared()
