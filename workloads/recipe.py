"""Recipes: objective + methods + plan, written one way everywhere, `l1 + lds + fds`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from types import MappingProxyType
from typing import Final

from workloads.hparams import Declared, Field, UnknownName, Value
from workloads.methods import METHODS
from workloads.objectives import OBJECTIVES
from workloads.plans import PLANS
from workloads.seam import PENALTIES, SLOTS, Adjustment, Method, Objective, Part, Plan, Stage

PARTS: Final[dict[str, type[Part]]] = {**OBJECTIVES, **METHODS, **PLANS}
"""Every part by name; its order is the canonical one."""


@dataclass(frozen=True)
class Recipe:
    """The names of one objective, any number of methods and one plan, in canonical order.

    Raises ValueError when the recipe contradicts itself, UnknownName when a part does not exist.
    """

    objective: str
    methods: tuple[str, ...] = ()
    plan: str = "once"

    def __post_init__(self) -> None:
        for kind, names, known in (
            ("objective", (self.objective,), OBJECTIVES),
            ("method", self.methods, METHODS),
            ("plan", (self.plan,), PLANS),
        ):
            for name in names:
                if name not in known:
                    raise UnknownName(kind, name, known)
        for name in self.methods:
            if self.methods.count(name) > 1:
                raise ValueError(f"a recipe names a method once: got {self} with {name} twice; remove one")
        order = list(METHODS)
        object.__setattr__(self, "methods", tuple(sorted(self.methods, key=order.index)))
        slots: dict[str, str] = {}
        for name in (self.objective, *self.methods):
            slot = PARTS[name].slot
            if slot is not None and slot in slots:
                raise ValueError(
                    f"{slots[slot]} and {name} contradict each other, both set {SLOTS.get(slot, slot)}: "
                    f"got '{self}'; keep one of them"
                )
            if slot is not None:
                slots[slot] = name
        trainer = OBJECTIVES[self.objective].trainer
        unfit = [name for name in self.methods if METHODS[name].needs_network()]
        if trainer != "network" and (unfit or self.plan != "once"):
            raise ValueError(
                f"{self.objective} grows {trainer}, and {' and '.join(unfit) or self.plan} acts on a network: got "
                f"'{self}'; take weights by density or a recalibration, or another objective"
            )

    @classmethod
    def parse(cls, text: str) -> "Recipe":
        """Read `l1 + lds + rrt`, in any order; raises like the class."""
        names = [name.strip() for name in text.split("+")]
        for name in names:
            if name not in PARTS:
                raise UnknownName("objective, method or plan", name, PARTS, f"recipe '{text}'")
        objectives = [name for name in names if name in OBJECTIVES]
        plans = [name for name in names if name in PLANS]
        if len(objectives) != 1:
            raise ValueError(
                f"a recipe has exactly one objective: got {len(objectives)} in '{text}'; known: {', '.join(OBJECTIVES)}"
            )
        if len(plans) > 1:
            raise ValueError(f"a recipe has at most one plan: got {' and '.join(plans)} in '{text}'")
        methods = tuple(name for name in names if name in METHODS)
        return cls(objectives[0], methods, plans[0] if plans else "once")

    def __str__(self) -> str:
        plan = () if self.plan == "once" else (self.plan,)
        return " + ".join((self.objective, *self.methods, *plan))

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of all parts in canonical order, the plan included."""
        return (self.objective, *self.methods, self.plan)

    @property
    def adjustment(self) -> str | None:
        """The method that acts after training, if there is one."""
        return next((name for name in self.methods if issubclass(METHODS[name], Adjustment)), None)

    @property
    def trained(self) -> "Recipe":
        """What training sees of the recipe: the same without its adjustment."""
        return replace(self, methods=tuple(name for name in self.methods if name != self.adjustment))

    @cached_property
    def trainings(self) -> int:
        """How often an epoch passes over the training rows: more than once where an adjustment has its own models."""
        method = METHODS.get(self.adjustment or "")
        return max(1, method.folds) if method is not None and issubclass(method, Adjustment) else 1

    def declared(self) -> dict[str, Field]:
        """Every hyperparameter of the recipe as `part.name`."""
        return {
            f"{part}.{name}": field for part in self.parts for name, field in PARTS[part].Hparams.declared().items()
        }

    def versions(self, settings: Mapping[str, Value] = MappingProxyType({})) -> dict[str, int]:
        """Version of every part that is not 1 under settings named `part.hparam`."""
        found = {
            part: version or PARTS[part].version_of(PARTS[part].Hparams.of(settings_of(part, settings), part))
            for part, version in self._versions.items()
        }
        return {part: version for part, version in found.items() if version != 1}

    @cached_property
    def _versions(self) -> dict[str, int | None]:
        """Version of every part; None where it depends on settings."""
        plain = Part.version_of.__func__  # type: ignore[attr-defined]
        kinds = {part: PARTS[part] for part in self.parts}
        return {part: kind.version if kind.version_of.__func__ is plain else None for part, kind in kinds.items()}  # type: ignore[attr-defined]

    def build(self, settings: Mapping[str, Value]) -> tuple[Objective, dict[str, Method], Plan]:
        """Make the parts from settings named `part.hparam`; what is not named keeps its default."""

        def hparams(part: str) -> Declared:
            return PARTS[part].Hparams.of(settings_of(part, settings), part)

        objective = OBJECTIVES[self.objective](hparams(self.objective))
        methods = {name: METHODS[name](hparams(name)) for name in self.methods}
        return objective, methods, PLANS[self.plan](hparams(self.plan))


def objective_of(stage: Stage, own: Objective) -> Objective:
    """The objective of a stage, where it is not the recipe's `own`: with its defaults."""
    if stage.objective in ("", PENALTIES):
        return own
    kind = OBJECTIVES[stage.objective]
    return own if type(own) is kind and not own.hparams.changed() else kind(kind.Hparams())


def stages_of(recipe: Recipe, settings: Mapping[str, Value]) -> Sequence[Stage]:
    """The stages of a recipe under settings named `part.hparam`."""
    plan = PLANS[recipe.plan]
    return plan(plan.Hparams.of(settings_of(recipe.plan, settings), recipe.plan)).stages()


def untrained(recipe: Recipe, settings: Mapping[str, Value]) -> str:
    """What is wrong with a stage that has nothing to minimise, in words; empty where each has something."""
    stages = stages_of(recipe, settings)
    penalties = [METHODS[name] for name in recipe.methods if METHODS[name].penalty is not Method.penalty]
    for at, stage in enumerate(stages):
        acts = stage.methods and any(min(method.joins, len(stages) - 1) <= at for method in penalties)
        if stage.objective == PENALTIES and not acts:
            return (
                f"a stage without an objective needs a method with a penalty that acts in it, such as rnc: got none in "
                f"stage {at} of '{recipe}'; add one, or give the stage an objective"
            )
    return ""


def settings_of(part: str, settings: Mapping[str, Value]) -> dict[str, Value]:
    """The settings of one part, without its prefix."""
    prefix = f"{part}."
    return {name.removeprefix(prefix): value for name, value in settings.items() if name.startswith(prefix)}


def combine(objectives: Iterable[str], methods: Iterable[str], plans: Iterable[str] = ("once",)) -> list[Recipe]:
    """Every objective with every subset of the methods under every plan, smaller subsets first."""
    names = list(methods)
    return [
        Recipe(objective, subset, plan)
        for plan in plans
        for objective in objectives
        for size in range(len(names) + 1)
        for subset in combinations(names, size)
    ]
