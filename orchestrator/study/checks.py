"""What the values of a study must be like, beyond their types: laws that name the key and the value."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from orchestrator.errors import shown
from orchestrator.laws import unknown

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
"""Of a study, and of a data set that one declares."""
BOUNDS: Final = ("low", "high", "log", "when")
"""Keys of a narrowed range."""
OF_STORAGE: Final = frozenset({"ledger", "checkpoints", "cache", "mlartifacts", "mlruns"})
"""Folders that every storage has: no study is called so, nor `mlflow.db` and what SQLite puts beside it."""
DATABASE: Final = "mlflow.db"


def _scalar(value: object, where: str) -> None:
    """Raises ValueError unless the value is one that a hyperparameter may have."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must be a finite number: got {value}")
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"{where} must be a number, a word, or true or false: got {shown(value)}")


def _interval(value: Mapping[str, Any], where: str) -> None:
    """Raises ValueError unless the mapping is {low, high} or {low, high, log}."""
    for key in value:
        if key not in BOUNDS:
            raise ValueError(unknown(key, BOUNDS, where))
    for key in ("low", "high"):
        if key not in value:
            raise ValueError(f"{where} must have low and high: got {shown(dict(value))}; or list values: [1, 2]")
        if isinstance(value[key], bool) or not isinstance(value[key], int | float):
            raise ValueError(f"{where}.{key} must be a number: got {shown(value[key])}")
        _scalar(value[key], f"{where}.{key}")
    if not isinstance(value.get("log"), bool | None):
        raise ValueError(f"{where}.log must be true or false: got {shown(value['log'])}")


def _values(value: object, where: str) -> None:
    """Raises ValueError unless these are listed values that a hyperparameter may have."""
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"{where} must list at least one value: got {shown(value)}")
    for number, each in enumerate(value):
        _scalar(each, f"{where}.{number}")


def _condition(value: Mapping[str, Any], where: str) -> None:
    """Raises ValueError unless `when` is a mapping of names to listed values."""
    when = value.get("when")
    if "when" in value and (not isinstance(when, Mapping) or not when):
        raise ValueError(f"{where}.when maps part.hyperparameter to a list of values: got {shown(when)}")
    for name, values in (when or {}).items():
        _values(values, f"{where}.when.{name}")


def _under_condition(value: Mapping[str, Any], where: str) -> None:
    """Raises ValueError unless the mapping is {values, when}."""
    for key in value:
        if key not in ("values", "when"):
            raise ValueError(unknown(key, ("values", "when"), where))
    if "when" not in value:
        raise ValueError(
            f"{where} with values has a condition, when: got {shown(dict(value))}; or list the values alone"
        )
    _values(value["values"], f"{where}.values")


def check_space(tree: object) -> object:
    """What a study says of its ranges: ranges, `{values, when}`, values, or one; raises ValueError."""
    if not isinstance(tree, Mapping):
        raise ValueError(f"space must be a mapping of part.hyperparameter to ranges: got {shown(tree)}")
    for name, value in tree.items():
        where = f"space.{name}"
        if isinstance(value, Mapping):
            _condition(value, where)
            (_under_condition if "values" in value else _interval)(value, where)
        elif isinstance(value, list | tuple):
            _values(value, where)
        elif not isinstance(value, BaseModel):
            if value is None:
                raise ValueError(f"{where} must be {{low, high}}, a list of values, or one value: got null")
            _scalar(value, where)
    return tree


def check_first(tree: object) -> object:
    """What a study sets for the first trial: one value each; raises ValueError."""
    if not isinstance(tree, Mapping):
        raise ValueError(f"first must be a mapping of part.hyperparameter to values: got {shown(tree)}")
    for name, value in tree.items():
        if name == "train.epochs":
            raise ValueError("first sets hyperparameters of one trial, and epochs are those of all: set train.epochs")
        _scalar(value, f"first.{name}")
    return tree


def check_train(tree: object) -> object:
    """What a study sets of training: one value each, or a mapping of such under a workload; raises ValueError."""
    if not isinstance(tree, Mapping):
        raise ValueError(f"train must be a mapping of hyperparameters to values: got {shown(tree)}")
    for name, value in tree.items():
        own = value if isinstance(value, Mapping) else None
        for where, each in ((f"train.{name}.{key}", own[key]) for key in own) if own else ((f"train.{name}", value),):
            if isinstance(each, Mapping | list | tuple):
                raise ValueError(f"{where} takes one value: got {shown(each)}; what is searched stands under space")
            _scalar(each, where)
    return tree


def no_folder_of_storage(name: str) -> str:
    """A study's outputs lie in a folder of its name: raises ValueError where the storage has something else there."""
    if name in OF_STORAGE or name.startswith(DATABASE):
        raise ValueError(
            f"study must not be called like what every storage holds ({', '.join((*sorted(OF_STORAGE), DATABASE))}): "
            f"got {name!r}; choose another name"
        )
    return name


def check_primary(primary: str | None, workload: str, metrics: Sequence[str], regions: Sequence[str]) -> None:
    """Raises ValueError unless the column that decides a study is one of the workload's table."""
    metric, _, region = (primary or "").partition("/")
    if primary is not None and (metric not in metrics or region not in regions):
        raise ValueError(
            f"report.primary is METRIC/REGION, with a metric of {', '.join(metrics)} for {workload} and "
            f"a region of {', '.join(regions)}: got {primary!r}"
        )


def check_pack(asked: str | int, workload: str, light: bool, processes: int) -> None:
    """Raises ValueError where a number is packed of a workload that is not light, or has several processes a trial."""
    if not isinstance(asked, int) or asked == 1:
        return
    if light and processes > 1:
        raise ValueError(
            f"resources.pack trains several trials in one process, and {workload} has several processes for one trial: "
            f"got {asked} and {processes}; take auto, which packs where it can, or one process"
        )
    if not light:
        raise ValueError(
            "resources.pack trains several trials in one process, which only light workloads gain from, whose encoder "
            f"is a small MLP: got {asked}, and {workload} is none; take auto, which packs where it helps"
        )


def each_name_once(workloads: tuple[Any, ...]) -> tuple[Any, ...]:
    """Raises ValueError where a declared data set has the name of another workload of the study."""
    count = Counter(item if isinstance(item, str) else item.name for item in workloads)
    for item in workloads:
        if not isinstance(item, str) and count[item.name] > 1:
            raise ValueError(f"workloads must have names of their own: got {count[item.name]} called {item.name!r}")
    return workloads


def without_rescoring(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """A study under protocol 1 selects by one trial per setting; raises ValueError where it asks for rescoring."""
    tune = tree.get("tune", {})
    if tree.get("protocol") != 1 or not isinstance(tune, Mapping):
        return tree
    if tune.get("rescore", 1) != 1:
        raise ValueError(
            f"tune.rescore must be 1 under protocol: 1, which rescores nothing: got {shown(tune['rescore'])}; leave it "
            "out, or leave protocol out for a study that begins anew"
        )
    return {**tree, "tune": {**tune, "rescore": 1}}
