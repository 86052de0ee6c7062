"""The mappings of a study file that have keys of their own, as frozen models."""

import re
from collections.abc import Mapping
from importlib import resources
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from orchestrator.study import objectives, samplers
from orchestrator.study.rules import known

Scalar: TypeAlias = StrictBool | StrictInt | StrictFloat | StrictStr
Count: TypeAlias = Annotated[int, Field(strict=True, ge=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
Seconds: TypeAlias = Annotated[float, Field(strict=True, gt=0)]

SECRET_PARAMETER: Final = re.compile(r"[?&;](pass|pwd|passwd|password|\w*token|api_?key|\w*secret)=", re.IGNORECASE)
WAYS_OUT: Final = dict.fromkeys(
    ("http", "https"),
    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, in the environment",
)
"""Where MLflow looks for the password of a server."""
TRIALS, PARALLEL, SEEDS, CPUS, PACK = 10_000, 256, 1_000, 100_000, 64
"""Bounds of a study: planning takes time for each trial, and for each pair of trials that are under way at once."""


class Model(BaseModel):
    """Frozen; unknown keys are refused.

    Keys of `later` releases are not written where they have their defaults: so stored studies, and the names of
    submissions, are what they were before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _as_before(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = whole(self)
        fields = type(self).model_fields
        for key in self.later & tree.keys():
            if getattr(self, key) == fields[key].get_default(call_default_factory=True):
                del tree[key]
        return tree


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

    All trials of a cell have one seed, so that settings differ in nothing else. Then the `rescore` best are trained
    with `rescore_seeds` further seeds each, and the one with the best mean over all its seeds is selected.

    `select_by` may list several rules: the first of them is `select_by` from then on, and the others are `beside` it.
    Then samplers search the Pareto set, and `pick` names the rule by which one of it is selected (`objectives.py`).

    With `replicates: K` all that (search, rescoring, selection, evaluation) is done K times with other seeds, and the
    intervals of the report are over replicates: they cover the luck of tuning.

    `time_limit_s` bounds the seconds of one trial of either phase, `epoch_time_limit_s` those between two reports of
    epochs: a trial that takes longer is recorded as failed. They are no part of a study's definition or a trial's id.

    `scheduler` stops trials of the search early, by those of the same cell: `population` of them are compared, first
    after `grace` epochs and then after `reduction` times as many, and one in `reduction` goes on. What is not set is
    the rule's own (`rules.py`).

    `budget: per_axis` gives larger spaces more trials, in proportion to the hyperparameters that a cell searches; the
    smallest space has `trials`.
    """

    trials: Annotated[Count, Field(le=TRIALS)] = 16
    sampler: Annotated[
        str, AfterValidator(samplers.known), WithJsonSchema({"type": "string", "enum": [*samplers.FAMILIES]})
    ] = "tpe"
    scheduler: Annotated[str, AfterValidator(known)] = "none"
    population: Annotated[int, Field(strict=True, ge=2, le=TRIALS)] | None = None
    grace: Count | None = None
    reduction: Annotated[int, Field(strict=True, ge=2, le=100)] | None = None
    select_by: str = "val/mae/all"
    beside: tuple[str, ...] = ()
    pick: str = "ideal"
    budget: Literal["equal", "per_axis"] = "equal"
    parallel: Annotated[Count, Field(le=PARALLEL)] = 4
    rescore: Annotated[Count, Field(le=TRIALS)] = 3
    rescore_seeds: Annotated[Count, Field(le=SEEDS)] = 2
    replicates: Annotated[Count, Field(le=SEEDS)] = 1
    time_limit_s: Seconds | None = None
    epoch_time_limit_s: Seconds | None = None

    later: ClassVar[frozenset[str]] = frozenset({"population", "grace", "reduction", "budget", "beside", "pick"})

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, tree: object) -> object:
        return objectives.listed(tree)

    @model_validator(mode="after")
    def _agrees(self) -> "Tune":
        objectives.check(self.rules, self.pick, self.scheduler)
        return self

    @property
    def rules(self) -> tuple[str, ...]:
        """What a search is judged by: the first one, by which tables and figures are read, and those beside it."""
        return (self.select_by, *self.beside)


class Budget(Model):
    """What a whole study may spend on the trials that it trains itself; when that is spent, no further one begins.

    `epochs` are those of all models, `device_hours` those of trials, times the GPUs of one (on CPUs its processes), and
    `money` is in the currency of `price_per_hour`, the price of a device hour. It is no part of a study's definition.
    """

    trials: Count | None = None
    epochs: Count | None = None
    device_hours: Positive | None = None
    money: Positive | None = None
    price_per_hour: Positive | None = None

    @model_validator(mode="after")
    def _priced(self) -> "Budget":
        if self.money is not None and self.price_per_hour is None:
            raise ValueError(f"budget.money needs a price: got {self.money:g} and no budget.price_per_hour; add it")
        return self

    @property
    def bounds(self) -> bool:
        """Whether anything is bounded."""
        return any(value is not None for value in (self.trials, self.epochs, self.device_hours, self.money))

    @property
    def hours_of_money(self) -> float | None:
        """The device hours that the money buys."""
        return self.money / self.price_per_hour if self.money is not None and self.price_per_hour is not None else None


class Evaluate(Model):
    """The selected setting of every cell is trained with this many seeds and scored on test.

    `keep_models` keeps weights in the storage: of no trial, of all these trials, or of the one of every cell with the
    best score on validation.
    """

    seeds: Annotated[Count, Field(le=SEEDS)] = 5
    keep_models: Literal["none", "best", "all"] = "none"

    later: ClassVar[frozenset[str]] = frozenset({"keep_models"})


class Report(Model):
    """How tables are read: `primary` is the column, `metric/region`, that the study is decided by; a difference within
    `margin` of the base's score (0.02: 2 %) is too small to matter. `names` are those of recipes and controls in an
    article, for `table.tex`."""

    primary: Annotated[str, Field(pattern=r"^[a-z0-9]+/[a-z]+$")] | None = None
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.02
    names: Mapping[str, StrictStr] = {}


class Interval(Model):
    """A narrowed range; it is searched only `when` other hyperparameters have one of the values listed for them."""

    low: StrictInt | StrictFloat
    high: StrictInt | StrictFloat
    log: bool | None = None
    when: Mapping[str, tuple[Scalar, ...]] = {}

    later: ClassVar[frozenset[str]] = frozenset({"when"})


class Listed(Model):
    """Listed values with such a condition."""

    values: Annotated[tuple[Scalar, ...], Field(min_length=1)]
    when: Mapping[str, tuple[Scalar, ...]]


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
    kept in study.json and shown: it may name a user of a database, but holds no password. `system_metrics` samples the
    machine while a trial runs; it changes neither the trial nor its record.
    """

    enabled: bool = True
    uri: Annotated[str | None, AfterValidator(_without_password)] = None
    tracker: Annotated[str, AfterValidator(_tracker)] = "mlflow"
    system_metrics: bool = False

    later: ClassVar[frozenset[str]] = frozenset({"tracker", "system_metrics"})


def trackers() -> list[str]:
    """Names of the trackers: of every file of `orchestrator/tracking`."""
    folder = resources.files("orchestrator") / "tracking"
    names = (item.name.removesuffix(".py") for item in folder.iterdir() if item.name.endswith(".py"))
    return sorted(name for name in names if not name.startswith("_"))
