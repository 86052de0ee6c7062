"""The study file: YAML into frozen models, overridden by the environment and by `--set`. Does not import torch."""

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

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

from orchestrator import yaml12
from orchestrator.errors import VALUE_CHARS, BadInput, one_line, shown
from orchestrator.laws import broken, unknown
from orchestrator.study.checks import check_space, check_train, each_name_once, no_folder_of_storage

if TYPE_CHECKING:
    from workloads.data.custom.schema import CustomData

Scalar: TypeAlias = StrictBool | StrictInt | StrictFloat | StrictStr
Count: TypeAlias = Annotated[int, Field(strict=True, ge=1)]
Seconds: TypeAlias = Annotated[float, Field(strict=True, gt=0)]

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
VERBATIM: Final = frozenset({"storage", "data"})
"""Keys whose variables hold a path as it is: `#`, `:` and quotes are part of it."""
TRIALS, PARALLEL, SEEDS, CPUS = 10_000, 256, 1_000, 100_000
"""Bounds of a study: planning takes time for each trial, and for each pair of trials that are under way at once."""


class Model(BaseModel):
    """Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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

    `time_limit_s` bounds the seconds of one trial of either phase, `epoch_time_limit_s` those between two reports of
    epochs: a trial that takes longer is recorded as failed. They are no part of a study's definition or a trial's id.
    """

    trials: Annotated[Count, Field(le=TRIALS)] = 16
    sampler: Literal["tpe", "random"] = "tpe"
    scheduler: Literal["none", "asha"] = "none"
    select_by: str = "val/mae/all"
    parallel: Annotated[Count, Field(le=PARALLEL)] = 4
    time_limit_s: Seconds | None = None
    epoch_time_limit_s: Seconds | None = None


class Evaluate(Model):
    """The selected setting of every cell is trained with this many seeds and scored on test."""

    seeds: Annotated[Count, Field(le=SEEDS)] = 5


class Report(Model):
    """How tables are read: `primary` is the column, `metric/region`, that the study is decided by; a difference within
    `margin` of the base's score (0.02: 2 %) is too small to matter. `names` are those of recipes and controls in an
    article, for `table.tex`."""

    primary: Annotated[str, Field(pattern=r"^[a-z0-9]+/[a-z]+$")] | None = None
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.02
    names: Mapping[str, StrictStr] = {}


class Interval(Model):
    """A narrowed range."""

    low: StrictInt | StrictFloat
    high: StrictInt | StrictFloat
    log: bool | None = None


class Resources(Model):
    """What one trial is given; GPUs may be shared (0.5). `concurrent` bounds the trials that run at once."""

    cpus: Annotated[float, Field(gt=0, le=CPUS)] = 1
    gpus: Annotated[float, Field(ge=0, le=CPUS)] = 0
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
        Mapping[str, Interval | Scalar | Annotated[tuple[Scalar, ...], Field(min_length=1)]],
        BeforeValidator(check_space),
    ] = {}
    train: Annotated[Mapping[str, Scalar | Mapping[str, Scalar]], BeforeValidator(check_train)] = {}
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
    def custom(self) -> "tuple[CustomData, ...]":
        """Data sets that the study itself declares."""
        return tuple(item for item in self.workloads if not isinstance(item, str))

    def definition(self) -> dict[str, Any]:
        """What makes it this study: all but its budgets, limits and where it runs, which may change between runs."""
        tree = self.model_dump(mode="json", exclude={"study", "evaluate", "report", *PLACES})
        for budget in ("trials", "time_limit_s", "epoch_time_limit_s"):
            del tree["tune"][budget]
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
