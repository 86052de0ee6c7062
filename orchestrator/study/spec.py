"""The study file: YAML into frozen models, overridden by the environment and by `--set`. Does not import torch."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    model_serializer,
)

from orchestrator.errors import BadInput

if TYPE_CHECKING:
    from workloads.data.custom.schema import CustomData

Scalar: TypeAlias = StrictBool | StrictInt | StrictFloat | StrictStr
Count: TypeAlias = Annotated[int, Field(strict=True, ge=1)]

PREFIX: Final = "TAILSWEEP_"
"""Environment variables: TAILSWEEP_STORAGE, TAILSWEEP_DATA, TAILSWEEP_TUNE__TRIALS, TAILSWEEP_SPACE__LDS__WIDTH."""
OF_THE_NODE: Final = frozenset({"TAILSWEEP_CACHE"})
"""Variables that are no part of a study: where a node keeps decoded data (workloads/cache.py)."""
PLACES: Final = frozenset({"resources", "tracking", "storage", "data", "plugins_from", "checkpoint_every_s"})
"""Keys that say where and how a study runs, not what it is."""
SECRET_PARAMETER: Final = re.compile(r"[?&;](pass|pwd|passwd|password|\w*token|api_?key|\w*secret)=", re.IGNORECASE)
WAYS_OUT: Final = dict.fromkeys(
    ("http", "https"),
    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, in the environment",
)
"""Where MLflow looks for the password of a server."""


class Model(BaseModel):
    """Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _workload(item: object) -> object:
    """A workload: its name, or the declaration of a data set of the user's own; raises ValueError."""
    if not isinstance(item, Mapping):
        if isinstance(item, str | BaseModel):
            return item
        raise ValueError(f"a workload is a name, or a mapping that declares one: got {item!r}")
    from workloads.data.custom.schema import (
        kind_of,  # torch comes with it, which a study of known names need not wait for
    )

    kind = kind_of(item)
    try:
        return kind.model_validate(item)
    except ValidationError as err:
        told = _message(err, kind, f"data of type {item['type']}")
        raise ValueError(f"workload {item.get('name')}: {told}") from None


class Recipes(Model):
    """Which recipes: every objective × every subset of `combine` × every plan, and the ones written out in `also`."""

    objectives: tuple[str, ...] = ()
    combine: tuple[str, ...] = ()
    plans: tuple[str, ...] = ("once",)
    also: tuple[str, ...] = ()


class Tune(Model):
    """The search of every cell.

    `parallel` trials of a cell may be under way at once: the k-th suggestion knows the results of trials before
    k - parallel + 1 and no others, so what is suggested does not depend on who finishes first.
    """

    trials: Count = 16
    sampler: Literal["tpe", "random"] = "tpe"
    scheduler: Literal["none", "asha"] = "none"
    select_by: str = "val/mae/all"
    parallel: Count = 4


class Evaluate(Model):
    """The selected setting of every cell is trained with this many seeds and scored on test."""

    seeds: Count = 3


class Interval(Model):
    """A narrowed range."""

    low: StrictInt | StrictFloat
    high: StrictInt | StrictFloat
    log: bool | None = None


class Resources(Model):
    """What one trial is given; GPUs may be shared (0.5). `concurrent` bounds the trials that run at once."""

    cpus: Annotated[float, Field(gt=0)] = 1
    gpus: Annotated[float, Field(ge=0)] = 0
    concurrent: Count | None = None


def _without_password(uri: str | None) -> str | None:
    """Raises ValueError, without the secret, for a URI that brings one; the way out is where MLflow looks itself."""
    scheme, there, rest = (uri or "").partition("://")
    kind = scheme.lower()
    user = rest.rpartition("@")[0] if there and kind not in {"file", "sqlite"} else ""  # a password may hold any letter
    if ":" in user or (kind in {"http", "https"} and user) or SECRET_PARAMETER.search(rest):
        way = WAYS_OUT.get(kind, "it to the client of the database, by PGPASSWORD or ~/.pgpass or what it reads")
        raise ValueError(
            "tracking.uri holds no password or token, since it is stored and shown: "
            f"got one in {scheme}://…; give {way}, and leave it out of the URI"
        )
    return uri


def _tracker(name: str) -> str:
    """The name of a tracker; raises ValueError."""
    if name not in trackers():
        raise ValueError(f"tracking.tracker is one of {', '.join(trackers())}: got {name!r}")
    return name


class Tracking(Model):
    """Where a study is followed: `tracker` names a file of `orchestrator/tracking/`, `uri` is its server.

    MLflow's defaults to `mlflow.db` in the storage folder; `enabled: false` leaves tracking out of the sweep. A URI is
    kept in study.json and shown: it may name a user of a database, but holds no password.
    """

    enabled: bool = True
    uri: Annotated[str | None, AfterValidator(_without_password)] = None
    tracker: Annotated[str, AfterValidator(_tracker)] = "mlflow"

    @model_serializer(mode="wrap")
    def _short(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the default tracker: so stored studies and names of submissions are what they were before others."""
        tree: dict[str, Any] = whole(self)
        if tree["tracker"] == "mlflow":
            del tree["tracker"]
        return tree


class Study(Model):
    """A study: workloads × recipes, a tuning budget and evaluation seeds.

    `space` narrows (`{low, high}`), lists or fixes hyperparameters by `part.name`; `train` sets `train.*` for all
    workloads, or for one under its name. `plugins` are modules that bring methods of their own: code that runs. They
    lie in the folder `plugins_from`, by itself that of the study file, or are installed.
    """

    study: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)]
    workloads: Annotated[tuple[Annotated[Any, BeforeValidator(_workload)], ...], Field(min_length=1)]
    recipes: Recipes
    tune: Tune = Tune()
    evaluate: Evaluate = Evaluate()
    space: Mapping[str, Interval | Scalar | Annotated[tuple[Scalar, ...], Field(min_length=1)]] = {}
    train: Mapping[str, Scalar | Mapping[str, Scalar]] = {}
    resources: Resources = Resources()
    tracking: Tracking = Tracking()
    storage: str = "results"
    data: str | None = None
    plugins: tuple[str, ...] = ()
    plugins_from: str | None = None
    checkpoint_every_s: Annotated[float, Field(ge=0)] = 30.0

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
            tree = yaml.safe_load(text)
        except yaml.YAMLError as err:
            raise BadInput(f"{name} must be YAML: {' '.join(str(err).split())}") from None
        if not isinstance(tree, dict):
            raise BadInput(f"{name} must hold a mapping with the keys {', '.join(cls.model_fields)}")
        for key, value in (place or {}).items():
            if key not in PLACES:
                raise BadInput(f"a cluster profile sets {', '.join(sorted(PLACES))} of a study: got {key!r}")
            tree[key] = {**tree.get(key, {}), **value} if isinstance(value, Mapping) else value
        for origin, path, written in _overrides(overrides, os.environ if environ is None else environ):
            _set(tree, path, written, origin)
        return cls.of(tree, name)

    @classmethod
    def of(cls, tree: Mapping[str, Any], name: str = "the study") -> "Study":
        """Make a study from a mapping; raises BadInput."""
        try:
            return cls.model_validate(tree)
        except ValidationError as err:
            raise BadInput(f"{name}: {_message(err, cls, 'a study')}") from None

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
    def custom(self) -> "tuple[CustomData, ...]":
        """Data sets that the study itself declares."""
        return tuple(item for item in self.workloads if not isinstance(item, str))

    def definition(self) -> dict[str, Any]:
        """What makes it this study: everything but its budgets and where it runs, which may change between runs."""
        tree = self.model_dump(mode="json", exclude={"study", "evaluate", *PLACES})
        del tree["tune"]["trials"]
        return tree


def trackers() -> list[str]:
    """Names of the trackers: of every file of `orchestrator/tracking`."""
    folder = resources.files("orchestrator") / "tracking"
    names = (item.name.removesuffix(".py") for item in folder.iterdir() if item.name.endswith(".py"))
    return sorted(name for name in names if not name.startswith("_"))


def shipped() -> list[str]:
    """Names of the studies that come with the package."""
    folder = resources.files("orchestrator.study") / "shipped"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def _source(source: str | Path) -> tuple[str, str]:
    path = Path(source)
    if path.is_file():
        try:
            return str(path), path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise BadInput(f"{path} must be a readable text file: {err}") from None
    if str(source) in shipped():
        return str(source), (resources.files("orchestrator.study") / "shipped" / f"{source}.yaml").read_text("utf-8")
    near = difflib.get_close_matches(str(source), shipped(), n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise BadInput(f"no study file and no shipped study {str(source)!r}; shipped: {', '.join(shipped())}{hint}")


def _overrides(settings: Iterable[str], environ: Mapping[str, str]) -> Iterable[tuple[str, list[str], str]]:
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in OF_THE_NODE:
            yield name, name.removeprefix(PREFIX).lower().split("__"), environ[name]
    for setting in settings:
        path, sign, value = setting.partition("=")
        if not sign:
            raise BadInput(f"--set takes key=value: got {setting!r}; for example --set tune.trials=8")
        yield f"--set {setting}", path.strip().split("."), value


def _set(tree: dict[str, Any], path: list[str], text: str, place: str) -> None:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise BadInput(f"{place}: the value must be YAML: got {text!r}") from None
    section, *rest = path
    if section not in Study.model_fields:
        raise BadInput(f"{place}: {_unknown(section, Study.model_fields, 'a study')}")
    if section == "space":
        rest = [".".join(rest)]  # keys of the space are themselves `part.name`
    *middle, last = [section, *rest]
    for key in middle:
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            raise BadInput(f"{place}: {key} is {below!r}, not a mapping; it has no key {last!r}")
        tree = below
    tree[last] = value


def _unknown(key: str, known: Iterable[str], where: str) -> str:
    near = difflib.get_close_matches(key, list(known), n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown key {key!r} in {where}; known: {', '.join(known)}{hint}"


def _message(err: ValidationError, top: type[BaseModel], what: str) -> str:
    """The first error, in the words of the house.

    Where a key takes several kinds of values, those kinds complain of a whole mapping or list too: that comes last.
    """
    first = min(
        err.errors(),
        key=lambda e: (
            e["type"] not in ("extra_forbidden", "value_error"),
            isinstance(e["input"], Mapping | list),
            len(e["loc"]),
        ),
    )
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    kinds = {kind.__name__: kind for kind in (Interval,)}
    path = [str(part) for part in first["loc"] if part not in kinds]
    where = ".".join(path)
    if first["type"] == "extra_forbidden":
        model = top
        for part in map(str, first["loc"][:-1]):
            field = model.model_fields.get(part)
            if part in kinds:
                model = kinds[part]
            elif field is not None and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                model = field.annotation
        return _unknown(path[-1], model.model_fields, ".".join(path[:-1]) or what)
    if first["type"] == "missing":
        return f"the key {where!r} is required in {what}"
    law = first["msg"][0].lower() + first["msg"][1:]
    return f"{where}: {law}: got {first['input']!r}"
