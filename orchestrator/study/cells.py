"""A study as cells, and a cell's trials: readable names, settings, seeds derived from names, content-addressed ids."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from orchestrator.errors import BadInput, shown
from orchestrator.ledger.records import Phase, Settings, canonical
from orchestrator.storage.data_roots import local_root, needed, prepared_in
from orchestrator.storage.store import remote
from orchestrator.study.axes import BASE, Axis, axis_around, axis_in, ends, narrowed
from orchestrator.study.checks import check_pack, check_primary
from orchestrator.study.conditions import When, check_conditions, in_order, under, when_of
from orchestrator.study.hyperparameters import check_names, declared
from orchestrator.study.keys import Interval, Listed, Tune
from orchestrator.study.priority import priorities
from orchestrator.study.samplers import sampler_named
from orchestrator.study.selecting_rule import check_defined, check_rule
from orchestrator.study.spec import PROTOCOL, Study
from orchestrator.study.stopping import check_comparable
from workloads import WORKLOADS, unknown
from workloads.data.custom import rows as yours
from workloads.data.custom.schema import kind_of
from workloads.extras import MissingExtra, need
from workloads.hparams import Choice, Frame, UnknownName, Value
from workloads.labels import REGIONS
from workloads.plugins import load_plugins
from workloads.published import first_settings
from workloads.recipe import PARTS, Recipe, combine
from workloads.seeds import seed_of
from workloads.trainers import check, check_shared
from workloads.training import LOOP, acting, settle, versions
from workloads.workload import Data, DataError, Workload

_DECLARED: dict[str, tuple[Mapping[str, Any], Path | None]] = {}

MONITOR: Final = "train.monitor"
CELLS: Final = 10_000
"""Of a study: planning takes about a millisecond for each, and each is a row of a table."""
IDENTITY = 1
"""Version of what goes into a trial id."""


@dataclass(frozen=True)
class Cell:
    """Workload × recipe × replicate: what gets an equal budget; the replicates of a recipe are a row of a table.

    `fixed` holds the settings that every trial shares, `axes` what is searched, `data` the workload's fingerprint.
    `published` are settings of the paper that are not searched: the first trial has them as well, the others do not.
    `copy` is the study's `replicate`, and `replicate` counts from 0 how often its tuning is repeated.
    """

    workload: str
    recipe: Recipe
    fixed: Settings
    axes: tuple[Axis, ...]
    data: str
    published: Settings = field(default_factory=dict)
    protocol: int = PROTOCOL
    copy: int = 0
    replicate: int = 0

    @cached_property
    def name(self) -> str:
        """`nhanes-sbp/l1 + lds`, of later replicates `nhanes-sbp/l1 + lds (replicate 1)`: unique in a study."""
        return f"{self.workload}/{self.recipe}{self.again}"

    @property
    def again(self) -> str:
        """What is said behind the name of a later replicate: ` (replicate 1)`."""
        return f" (replicate {self.replicate})" if self.replicate else ""

    @property
    def salt(self) -> tuple[int, ...]:
        """What sets the seeds of a replicate apart; nothing for the first one of a first copy."""
        return (self.copy, self.replicate) if self.copy or self.replicate else ()

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What all its trials have in common."""
        version = WORKLOADS[self.workload].version
        return {"workload": [self.workload, version], "data": self.data, "recipe": str(self.recipe)}

    @cached_property
    def identity_texts(self) -> dict[str, str]:
        """The same as members of a JSON object, by name."""
        return {name: _member({name: value}) for name, value in self.identity.items()}

    def trial(self, phase: Phase, number: int, settings: Settings, seed: int | None = None) -> "Trial":
        """The number-th trial of a phase, with the seed-th seed of that phase, by default the number-th.

        The seed depends on workload, phase and replicate, not on the recipe: recipes are compared on the same initial
        weights and batch orders.
        """
        of_phase = self.seed(phase, number if seed is None else seed)
        return Trial(self, phase, number, settle(self.recipe, self.fixed, settings), of_phase)

    def seed(self, phase: Phase, number: int) -> int:
        """The number-th seed of a phase."""
        return seed_of(self.workload, phase, number, *self.salt)


@dataclass(frozen=True)
class Trial:
    """One training run. `settings` are the active ones that differ from declared defaults.

    `search` is the key of the suggestion that a trial of the search is (`orchestrator.study.lineage`).
    """

    cell: Cell
    phase: Phase
    number: int
    settings: Settings
    seed: int
    search: str | None = field(default=None, compare=False)

    @property
    def epochs(self) -> int:
        """Epochs that the trial has."""
        return int(self.settings.get("train.epochs", LOOP.epochs))

    @property
    def validate_every(self) -> int:
        """Epochs from one validation to the next."""
        return int(self.settings.get("train.validate_every", LOOP.validate_every))

    @cached_property
    def versions(self) -> dict[str, int]:
        """Versions of the code that trains it, where they are not 1."""
        return versions(self.cell.recipe, self.settings)

    def again(self, phase: Phase, number: int, seed: int) -> "Trial":
        """The number-th trial of a phase with the same settings, and the seed-th seed of that phase."""
        made = Trial(self.cell, phase, number, self.settings, self.cell.seed(phase, seed))
        vars(made).update(versions=self.versions, _acting=self._acting)  # which take longer than all the rest
        return made

    @cached_property
    def _acting(self) -> str:
        """The members of the identity that trials with the same settings share."""
        return _member({"settings": dict(self.settings), "versions": self.versions})

    @cached_property
    def id(self) -> str:
        """A hash of everything that its numbers depend on, and of nothing else: no path, device, host or study name.

        It is that of an object in canonical JSON, made of members that are written once for many trials.
        """
        of_cell = self.cell.identity_texts
        members = (
            of_cell["data"],
            f'"identity":{IDENTITY}',
            f'"phase":"{self.phase}"',
            of_cell["recipe"],
            f'"seed":{self.seed}',
            self._acting,
            of_cell["workload"],
        )
        return hashlib.blake2b(f"{{{','.join(members)}}}".encode(), digest_size=10).hexdigest()


def _member(value: Mapping[str, Any]) -> str:
    """What stands between the braces of an object in canonical JSON."""
    return canonical(value)[1:-1]


def data_root(study: Study) -> str | None:
    """Where the study's data sets are looked for: absolute, since workers have another current folder."""
    if study.data and not remote(study.data):
        return str(local_root(study.data))
    return study.data or None


def declared_data(study: Study) -> dict[str, dict[str, Any]]:
    """Data sets that the study declares, by name, with absolute paths; raises DataError for a file that is missing.

    Below a root in S3 paths stay as they are written: every node has a copy of its own.
    """
    if study.data and remote(study.data):
        return {own.name: own.model_dump() for own in study.custom}
    return {own.name: yours.located(own, local_root(study.data)).model_dump() for own in study.custom}


def places(own: Mapping[str, Any]) -> list[str]:
    """Files and folders that a declared data set names."""
    return list(kind_of(own).model_validate(own).local.values())


def declare(own: Mapping[str, Any], root: Path | None) -> None:
    """Enter a data set that a study declares into the registry, with paths below the root; a worker does so as well.

    Raises ValueError when a shipped workload has its name, DataError when its file cannot be read.
    """
    name = str(own["name"])
    if name in WORKLOADS and name not in _DECLARED:
        raise ValueError(f"the name {name!r} is taken by a shipped workload; choose another")
    if _DECLARED.get(name) != (own, root):
        WORKLOADS[name] = yours.build(yours.located(kind_of(own).model_validate(own), root), root)
        _DECLARED[name] = (own, root)


@lru_cache(maxsize=4)
def load_data(workload: Workload, root: str | None, storage: str) -> Data:
    """Load a workload, once for checks, figures and tables; raises BadInput that names the file and the line."""
    try:
        with prepared_in(storage, root, workload):
            return workload.load(local_root(root, needed(workload)))
    except DataError as err:
        raise BadInput(f"workload {workload.name}: {err}") from None


def expand(study: Study) -> list[Cell]:
    """The cells of a study, in the order of its tables.

    Checks everything that a trial would stumble over, the data included; raises BadInput.
    """
    cells = sketch(study)
    fingerprints = {}
    for name in study.names:
        data = load_data(WORKLOADS[name], data_root(study), study.storage)
        try:
            for cell in cells:
                if cell.workload == name:
                    check(cell.recipe, data)
                    if (share := study.resources.share(name)).processes > 1:
                        settings = settle(cell.recipe, cell.fixed)
                        check_shared(WORKLOADS[name], data, cell.recipe, settings, share.gpus > 0)
        except ValueError as err:
            raise BadInput(f"workload {name}: {err}") from None
        monitors = [rule for cell in cells if cell.workload == name for rule in _monitors(cell)]
        for key, rule in dict.fromkeys((*(("tune.select_by", rule) for rule in study.tune.rules), *monitors)):
            check_defined(WORKLOADS[name], data, key, rule)
        fingerprints[name] = data.fingerprint
    return [replace(cell, data=fingerprints[cell.workload]) for cell in cells]


def notes(study: Study) -> list[str]:
    """What was made of the data of a study that people may not expect, in words; after `expand`, which loads them."""
    found = {name: load_data(WORKLOADS[name], data_root(study), study.storage).notes for name in study.names}
    return [f"{name}: {note}" for name, told in found.items() for note in told]


def sketch(study: Study) -> list[Cell]:
    """The cells without their data's fingerprints: what can be checked where the data are not; raises BadInput."""
    try:
        load_plugins(study.plugins, study.plugins_from)
        recipes = _recipes(study)
        for rule in study.tune.rules:
            check_rule(rule)
        check_names(study, recipes)
        check_conditions(study.space, {part for recipe in recipes for part in recipe.parts} | {"train"})
        for own in declared_data(study).values():
            declare(own, local_root(study.data, places(own)))
        for name in study.names:
            if name not in WORKLOADS:
                raise unknown(name, "workloads")
            need(*WORKLOADS[name].needs)
            check_primary(study.report.primary, name, WORKLOADS[name].metrics, ("all", *REGIONS))
            check_pack(study.resources.pack, name, WORKLOADS[name].light, study.resources.share(name).processes)
        _check_names(study, recipes)
        cells = [_cell(study, WORKLOADS[name], recipe) for name in study.names for recipe in recipes]
        check_search(study.tune, study.protocol, cells)
        check_comparable(study.tune, cells)
        priorities(study.priority, cells)
        return [replace(cell, replicate=number) for cell in cells for number in range(study.tune.replicates)]
    except (ValueError, DataError, MissingExtra) as err:
        raise BadInput(str(err)) from None


def check_search(tune: Tune, protocol: int, cells: Sequence[Cell]) -> None:
    """Raises ValueError where the sampler of a study cannot do what is asked of it."""
    chosen = sampler_named(tune.sampler)
    if protocol not in chosen.protocols:
        raise ValueError(f"tune.sampler must be tpe or random under protocol: {protocol}: got {tune.sampler}")
    if len(tune.rules) > 1 and not chosen.several:
        raise ValueError(
            f"tune.sampler: {tune.sampler} searches by one rule: got {len(tune.rules)} in tune.select_by; "
            "select by one, or take tpe"
        )
    if refused := next((why for cell in cells if (why := chosen.refused(cell, tune.trials))), ""):
        raise ValueError(refused)


def _check_names(study: Study, recipes: Sequence[Recipe]) -> None:
    """Raises ValueError for a name in an article of what is neither a recipe of the study nor a control."""
    known = [str(recipe) for recipe in recipes]
    for name in study.report.names:
        if name not in known and not name.startswith("control: "):
            raise UnknownName("recipe", name, known, "report.names")


def _monitors(cell: Cell) -> Iterator[tuple[str, str]]:
    """The rules by which trials of a cell keep an epoch, with the key that says them."""
    searched = next((axis for axis in cell.axes if axis.name == MONITOR), None)
    written = cell.fixed.get(MONITOR) if searched is None else None
    rules = searched.range.options if searched is not None and isinstance(searched.range, Choice) else (written,)
    yield from ((MONITOR, str(rule)) for rule in rules if rule is not None)


def _recipes(study: Study) -> list[Recipe]:
    written = study.recipes
    for key in ("objectives", "combine", "plans"):
        names: tuple[str, ...] = getattr(written, key)
        if len(set(names)) < len(names):
            raise ValueError(f"recipes.{key} must name every part once: got {shown(list(names))}")
    subsets = 2 ** min(len(written.combine), CELLS.bit_length())
    named = len(written.objectives) * subsets * len(written.plans) + len(written.also)
    cells = len(study.names) * named * study.tune.replicates
    if cells > CELLS:
        raise ValueError(
            f"a study must have at most {CELLS:,} cells, workloads x recipes x replicates: got "
            f"{cells:,}{' or more' if len(written.combine) > CELLS.bit_length() else ''}; take fewer"
        )
    recipes = combine(written.objectives, written.combine, written.plans)
    recipes += [Recipe.parse(text) for text in written.also]
    if not recipes:
        raise ValueError("recipes must name at least one: got none; add objectives or also")
    return list(dict.fromkeys(recipes))


def _cell(study: Study, workload: Workload, recipe: Recipe) -> Cell:
    for part in recipe.parts:
        need(*PARTS[part].needs)
        if workload.task not in PARTS[part].tasks:
            raise ValueError(
                f"{part} is for {' and '.join(PARTS[part].tasks)}: got '{recipe}' on {workload.name}, "
                f"a {workload.task} workload"
            )
        if workload.dense and not PARTS[part].dense:
            raise ValueError(
                f"{part} {PARTS[part].needs_rows}, and cannot act where every pixel has a label: got '{recipe}' on "
                f"{workload.name}; leave {part} out, or make it a study of its own on other workloads"
            )
    fixed: dict[str, Value] = {**workload.defaults(recipe.objective), "train.monitor": study.tune.select_by}
    asked: dict[str, Value] = {}
    for name, value in study.train.items():
        if isinstance(value, Mapping):
            if name == workload.name:
                asked |= {f"train.{hparam}": inner for hparam, inner in value.items()}
        else:
            asked[f"train.{name}"] = value
    fixed |= asked
    of_parts = {
        name: value for name, value in study.first.items() if name.partition(".")[0] in (*recipe.parts, "train")
    }
    settle(recipe, of_parts)  # refuses first values outside their ranges
    paper = {**first_settings(workload.name, recipe), **of_parts}
    axes: list[Axis] = []
    whens: dict[str, When] = {}
    for part in (*recipe.parts, "train"):
        for hparam in (acting(recipe) if part == "train" else declared(part)).values():
            name = f"{part}.{hparam.name}"
            written = study.space.get(name)
            default = paper.get(name, fixed.get(name, hparam.default))
            if isinstance(written, Interval | Listed | tuple):
                when = when_of(written)
                if {other.partition(".")[0] for other in when} <= {*recipe.parts, "train"}:  # else it cannot hold here
                    whens[name] = when
                    axes.append(under(axis_in(name, hparam, narrowed(name, hparam, written), default), when))
            elif written is not None:
                fixed[name] = written
            elif hparam.range.tune:
                axes.append(axis_in(name, hparam, hparam.range, default))
            elif name in BASE and name not in asked and study.protocol > 1:
                axes.append(axis_around(name, hparam, fixed.get(name, hparam.default), default))
    settle(recipe, fixed)  # refuses fixed values outside their ranges
    known = {*asked, *study.space, *(searched.name for searched in axes)}  # what the study says wins over the paper
    apart = {name: value for name, value in paper.items() if name not in known and fixed.get(name) != value}
    axes = in_order(axes, fixed, whens)
    made = Cell(workload.name, recipe, fixed, tuple(axes), "", apart, study.protocol, study.replicate)
    _check_laws(made, workload)
    return made


def _check_laws(cell: Cell, workload: Workload) -> None:
    """Refuse values that break a law between several hyperparameters, or with the grid, in any trial of the cell."""
    widest = {axis.name: ends(axis.range) for axis in cell.axes}
    first = {axis.name: (axis.first,) for axis in cell.axes}
    trials: tuple[tuple[str, Mapping[str, Sequence[Value]]], ...] = (
        ("", widest),
        (" in the first trial, with the paper's settings", first | {k: (v,) for k, v in cell.published.items()}),
    )
    for when, drawn in trials:

        def values(part: str, drawn: Mapping[str, Sequence[Value]] = drawn) -> dict[str, Sequence[Value]]:
            names = {name: (f"{part}.{name}", field.default) for name, field in declared(part).items()}
            return {name: drawn.get(full, (cell.fixed.get(full, default),)) for name, (full, default) in names.items()}

        frame = Frame(workload.grid.bins, int(min(values("train")["epochs"])))
        for part in cell.recipe.parts:
            if broken := PARTS[part].Hparams.broken(values(part), frame):
                raise ValueError(f"{cell.name}: {part}.{broken}{when}")
