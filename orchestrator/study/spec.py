"""The study file: YAML into frozen models, overridden by the environment and by `--set`. Does not import torch."""

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from orchestrator import yaml12
from orchestrator.errors import VALUE_CHARS, BadInput, one_line, shown
from orchestrator.laws import broken, unknown
from orchestrator.study.checks import (
    check_first,
    check_space,
    check_train,
    each_name_once,
    no_folder_of_storage,
    without_rescoring,
)
from orchestrator.study.keys import (
    SEEDS,
    Budget,
    Evaluate,
    Interval,
    Listed,
    Model,
    Recipes,
    Report,
    Scalar,
    Tracking,
    Tune,
)
from orchestrator.study.resources import Resources, Share

if TYPE_CHECKING:
    from workloads.data.custom.schema import CustomData

PREFIX: Final = "TAILSWEEP_"
"""Environment variables: TAILSWEEP_STORAGE, TAILSWEEP_DATA, TAILSWEEP_TUNE__TRIALS, TAILSWEEP_SPACE__LDS__WIDTH."""
OF_THE_NODE: Final = frozenset({"TAILSWEEP_CACHE"})
"""Variables that are no part of a study: where a node keeps decoded data (workloads/cache.py)."""
PLACES: Final = frozenset(
    {"resources", "tracking", "storage", "data", "plugins_from", "checkpoint_every_s", "budget", "priority"}
)
"""Keys that say where and how a study runs, not what it is."""
VERBATIM: Final = frozenset({"storage", "data"})
"""Keys whose variables hold a path as it is: `#`, `:` and quotes are part of it."""
PROTOCOL: Final = 2
"""How settings are searched and selected; studies that began under 1 go on under it, with the ids of their trials."""


def _workload(item: object) -> object:
    """A workload: its name, or the declaration of a data set of the user's own; raises ValueError."""
    if not isinstance(item, Mapping):
        if isinstance(item, str | BaseModel):
            return item
        raise ValueError(f"a workload is a name, or a mapping that declares one: got {shown(item)}")
    from workloads.data.custom.schema import (
        kind_of,  # torch comes with it, which a study of known names need not wait for
    )

    kind = kind_of(item)
    try:
        return kind.model_validate(item)
    except ValidationError as err:
        told = _message(err, item, kind, f"data of type {item['type']}")
        raise ValueError(f"workload {one_line(item.get('name'), 80)}: {told}") from None


class Study(Model):
    """A study: workloads × recipes, a tuning budget and evaluation seeds.

    `space` narrows (`{low, high}`), lists or fixes hyperparameters by `part.name`, also under a condition (`when`);
    `first` has those of the first trial, before the published ones; `train` sets `train.*` for all workloads, or one
    under its name. `plugins` are modules that bring methods of their own: code that runs. They lie in the folder
    `plugins_from`, by itself that of the study file, or are installed.

    `budget` bounds what is spent, and cells with a higher `priority` come first.

    `replicate` is another copy of the same study: all its seeds, of suggestions too, are other ones. `protocol: 1` goes
    on with a study that began when every tuning trial had a seed of its own and none was rescored.
    """

    study: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80), AfterValidator(no_folder_of_storage)]
    workloads: Annotated[
        tuple[Annotated[Any, BeforeValidator(_workload)], ...],
        Field(min_length=1, max_length=1000),
        AfterValidator(each_name_once),
    ]
    recipes: Recipes
    tune: Tune = Tune()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()
    space: Annotated[
        Mapping[str, Interval | Listed | Scalar | Annotated[tuple[Scalar, ...], Field(min_length=1)]],
        BeforeValidator(check_space),
    ] = {}
    first: Annotated[Mapping[str, Scalar], BeforeValidator(check_first)] = {}
    train: Annotated[Mapping[str, Scalar | Mapping[str, Scalar]], BeforeValidator(check_train)] = {}
    resources: Resources = Resources()
    tracking: Tracking = Tracking()
    storage: str = "results"
    data: str | None = None
    plugins: tuple[str, ...] = ()
    plugins_from: str | None = None
    checkpoint_every_s: Annotated[float, Field(ge=0)] = 30.0
    budget: Budget = Budget()
    priority: Mapping[str, Annotated[float, Field(strict=True)]] | tuple[str, ...] = ()
    replicate: Annotated[int, Field(strict=True, ge=0, le=SEEDS)] = 0
    protocol: Literal[1, 2] = PROTOCOL

    later: ClassVar[frozenset[str]] = frozenset({"budget", "priority"})

    @model_validator(mode="before")
    @classmethod
    def _first_protocol(cls, tree: object) -> object:
        return without_rescoring(tree) if isinstance(tree, Mapping) else tree

    @model_validator(mode="after")
    def _resources_of_its_workloads(self) -> "Study":
        self.resources.check(self.names)
        return self

    @classmethod
    def load(
        cls,
        source: str | Path,
        overrides: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
        place: Mapping[str, Any] | None = None,
    ) -> "Study":
        """Read a shipped study by name or a file by path, beside which its plugins may lie; see `read`."""
        name, text = _source(source)
        study = cls.read(text, name, overrides, environ, place)
        return study._with_plugins(Path(source).resolve().parent) if Path(source).is_file() else study

    @classmethod
    def read(
        cls,
        text: str,
        name: str,
        overrides: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
        place: Mapping[str, Any] | None = None,
    ) -> "Study":
        """Read a study's text; later wins: text, `place` (keys of PLACES), environment, `overrides` `a.b=c`.

        Raises BadInput with one message: the law, the value, the way out.
        """
        try:
            tree = yaml12.load(text, name)
        except ValueError as err:
            raise BadInput(str(err)) from None
        if not isinstance(tree, dict):
            raise BadInput(f"{name} must hold a mapping with the keys {', '.join(cls.model_fields)}")
        for key, value in (place or {}).items():
            if key not in PLACES:
                raise BadInput(f"a cluster profile sets {', '.join(sorted(PLACES))} of a study: got {key!r}")
            below = tree.get(key)
            tree[key] = {**below, **value} if isinstance(value, Mapping) and isinstance(below, dict) else value
        for origin, path, written in _overrides(overrides, os.environ if environ is None else environ):
            _set(tree, path, written, origin)
        return cls.of(tree, name)

    @classmethod
    def of(cls, tree: Mapping[str, Any], name: str = "the study") -> "Study":
        """Make a study from a mapping; raises BadInput."""
        try:
            return cls.model_validate(tree)
        except ValidationError as err:
            raise BadInput(f"{name}: {_message(err, tree, cls, 'a study')}") from None

    def _with_plugins(self, folder: Path) -> "Study":
        """The study, with the folder in which its plugins lie: other processes have another current folder."""
        if not self.plugins:
            return self
        if self.plugins_from is not None:
            return self.model_copy(update={"plugins_from": str((folder / self.plugins_from).resolve())})
        from workloads.plugins import beside  # torch comes with it, as it does with the plugins

        there = any(beside(plugin, folder) for plugin in self.plugins)
        return self.model_copy(update={"plugins_from": str(folder)}) if there else self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the workloads, each once, in the order of the tables."""
        return tuple(dict.fromkeys(item if isinstance(item, str) else item.name for item in self.workloads))

    @property
    def largest(self) -> Share:
        """The most that a trial of any of its workloads is given."""
        return self.resources.largest(self.names)

    @property
    def custom(self) -> "tuple[CustomData, ...]":
        """Data sets that the study itself declares."""
        return tuple(item for item in self.workloads if not isinstance(item, str))

    def definition(self) -> dict[str, Any]:
        """What makes it this study: all but its budgets, limits and where it runs, which may change between runs."""
        tree = self.model_dump(mode="json", exclude={"study", "evaluate", "report", *PLACES})
        for budget in (
            "budget",
            "trials",
            "rescore",
            "rescore_seeds",
            "replicates",
            "time_limit_s",
            "epoch_time_limit_s",
        ):
            tree["tune"].pop(budget, None)
        return tree


def shipped() -> list[str]:
    """Names of the studies that come with the package."""
    folder = resources.files("orchestrator.study") / "shipped"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def _source(source: str | Path) -> tuple[str, str]:
    """Name and text of a shipped study or a file; raises BadInput."""
    path = Path(source)
    if str(source) not in shipped() or _is_file(path):
        if not (_is_file(path) or path.suffix in {".yaml", ".yml", ".json"}):
            near = difflib.get_close_matches(str(source)[:80], shipped(), n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise BadInput(
                f"no study file and no shipped study {shown(str(source))}; shipped: {', '.join(shipped())}{hint}"
            )
        try:
            return str(path), yaml12.read_text(path, "the study")
        except ValueError as err:
            raise BadInput(str(err)) from None
    return str(source), (resources.files("orchestrator.study") / "shipped" / f"{source}.yaml").read_text("utf-8")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or no name at all
        return False


def _overrides(settings: Iterable[str], environ: Mapping[str, str]) -> Iterable[tuple[str, list[str], str]]:
    """Where each override is from, its keys, and its value as YAML."""
    known: dict[str, str] = {}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in OF_THE_NODE:
            key = name.removeprefix(PREFIX).lower()
            if known.setdefault(key, name) != name:
                raise BadInput(f"{name} and {known[key]} set the same key; unset one of them")
            value = json.dumps(environ[name] or None) if key in VERBATIM else environ[name]
            yield name, key.split("__"), value
    for setting in settings:
        path, sign, value = setting.partition("=")
        if not sign:
            raise BadInput(f"--set takes key=value: got {shown(setting)}; for example --set tune.trials=8")
        yield f"--set {one_line(setting, VALUE_CHARS)}", path.strip().split("."), value


def _set(tree: dict[str, Any], path: list[str], text: str, place: str) -> None:
    try:
        value = yaml12.load(text, f"{place}: the value")
    except ValueError as err:
        raise BadInput(str(err)) from None
    head, *rest = path
    if head not in Study.model_fields:
        raise BadInput(f"{place}: {unknown(head, Study.model_fields, 'a study')}")
    if head == "space" and rest:
        rest = [".".join(rest)]  # keys of the space are themselves `part.name`
    *middle, last = [head, *rest]
    for key in middle:
        below = tree.get(key)
        if below is None:
            below = tree[key] = {}
        if not isinstance(below, dict):
            raise BadInput(f"{place}: {key} is {shown(below)}, not a mapping; it has no key {shown(last)}")
        tree = below
    tree[last] = value


def _message(err: ValidationError, tree: object, top: type[BaseModel], what: str) -> str:
    """The first law that is broken, in the words of the house."""
    found = broken(err, tree)
    if found.cause is not None:
        return str(found.cause)
    if found.kind == "extra_forbidden":
        model = top
        for part in found.keys[:-1]:
            field = model.model_fields.get(part)
            if field is not None and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                model = field.annotation
        return unknown(found.keys[-1], model.model_fields, ".".join(found.keys[:-1]) or what)
    if found.kind == "missing":
        return f"the key {found.where!r} is required in {what}"
    law = found.law[0].lower() + found.law[1:]
    return f"{found.where or what}: {law}: got {shown(found.value)}"
