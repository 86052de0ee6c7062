"""What a study will take: trials, epochs, device hours, money and disk, as a form that programs read."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from orchestrator.report.budgets import spent
from orchestrator.report.disk import (
    COPIES,
    cache_bytes,
    predictions_bytes,
    record_bytes,
    scores_in,
    weights_bytes,
)
from orchestrator.report.pace import Paces, Source, pace_of
from orchestrator.report.settings import ranges
from orchestrator.study.allowance import trained
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.cells import Cell, data_root, load_data
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from orchestrator.study.spending import HOUR_S
from workloads import WORKLOADS


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True)


class Searched(_Form):
    """A hyperparameter that is searched: its range in words, its first value, and when it acts."""

    name: str
    range: str
    first: str
    only: str


class Used(_Form):
    """What trials in the ledger used: their number, their epochs, and their seconds by the clock."""

    trials: int
    epochs: int
    device_s: float


class CellForecast(_Form):
    """A cell, which tries so many `settings`.

    `left` are trials that are not in the ledger; hours are null where no epoch was measured.
    """

    cell: str
    workload: str
    recipe: str
    fixed: dict[str, Any]
    published: dict[str, Any]
    search: tuple[Searched, ...]
    settings: int
    priority: float
    steps: dict[str, int]
    trials: int
    epochs: int
    used: Used
    left: int
    epoch_s: float | None
    measured: Source
    device_hours: float | None
    left_device_hours: float | None


class Money(_Form):
    """Price of a device hour, and what all and what is left cost, in its currency."""

    per_device_hour: float
    all: float | None
    left: float | None


class Disk(_Form):
    """Bytes that the whole study writes to its storage, and what a node keeps of decoded images of all data sets.

    Checkpoints are those of the trials that run at once, or wait for their population; they are gone afterwards.
    `models` are kept weights: of every evaluated trial, also where all but the best are deleted at the end.
    """

    records: int
    predictions: int
    models: int
    checkpoints: int
    image_cache: int


class Forecast(_Form):
    """A study before it is trained, or while it is.

    `form` is the version of this form; a key is added without a new one. A device hour is that of a budget: an hour of
    a trial, times its GPUs or its share of one (on CPUs its processes). `left_hours` are those of `at_once` trials, so
    many as fit on this machine unless the study bounds them. Null is what nothing measured yet.
    """

    form: Literal[1] = 1
    study: str
    storage: str
    select_by: str
    budget: dict[str, int]
    trials: int
    left: int
    epochs: int
    at_once: int
    device_hours: float | None
    left_device_hours: float | None
    left_hours: float | None
    money: Money | None
    disk: Disk
    cells: tuple[CellForecast, ...]


def forecast(
    study: Study, planner: Planner, storage: str, paces: Paces, at_once: int, price: float | None = None
) -> Forecast:
    """What a study takes, by the pace of its recipes and the price of a device hour."""
    cells = tuple(_cell(study, planner, plan, paces) for plan in planner.plans)
    hours, left = (_sum([getattr(cell, name) for cell in cells]) for name in ("device_hours", "left_device_hours"))
    money = None
    if price is not None:
        money = Money(per_device_hour=price, all=_times(hours, price), left=_times(left, price))
    return Forecast(
        study=study.study,
        storage=storage,
        select_by=study.tune.select_by,
        budget={str(step): count for step, count in planner.budget.items()},
        trials=planner.total,
        left=sum(cell.left for cell in cells),
        epochs=sum(_epochs(study, planner, plan) for plan in planner.plans),
        at_once=at_once,
        device_hours=hours,
        left_device_hours=left,
        left_hours=_sum([_times(cell.left_device_hours, 1 / (at_once * _devices(study, cell))) for cell in cells]),
        money=money,
        disk=_disk(study, planner, at_once),
        cells=cells,
    )


def _sum(hours: list[float | None]) -> float | None:
    known = [each for each in hours if each is not None]
    return sum(known) if len(known) == len(hours) else None


def _times(hours: float | None, factor: float) -> float | None:
    return None if hours is None else hours * factor


def _epochs(study: Study, planner: Planner, plan: CellPlan) -> int:
    """The most that the trials of a cell train, as far as they are known."""
    return trained(study, plan.cell, planner.steps(plan), plan.repeats)


def _devices(study: Study, cell: Cell | CellForecast) -> float:
    return study.resources.share(cell.workload).devices


def _cell(study: Study, planner: Planner, plan: CellPlan, paces: Paces) -> CellForecast:
    cell, used = plan.cell, spent([plan])
    trials, epochs = planner.planned(plan), plan.trials["tune"][0].epochs
    left = trials - used.trials
    pace, devices = pace_of(paces, cell.workload, str(cell.recipe)), _devices(study, cell)
    ran = used.epochs // cell.recipe.trainings
    to_come = min(left * epochs, _epochs(study, planner, plan) - ran)  # ended trials leave none behind
    coming = None if pace.seconds is None else to_come * pace.seconds * devices / HOUR_S
    names = ("name", "range", "first", "only")
    return CellForecast(
        cell=cell.name,
        workload=cell.workload,
        recipe=str(cell.recipe),
        fixed=dict(cell.fixed),
        published=dict(cell.published),
        search=tuple(Searched(**dict(zip(names, axis, strict=True))) for axis in ranges(cell)),
        settings=planner.tries(cell),
        priority=planner.priorities[cell.name],
        steps={str(step): count for step, count in planner.steps(plan).items()},
        trials=trials,
        epochs=epochs,
        used=Used(**vars(used)),
        left=left,
        epoch_s=pace.seconds,
        measured=pace.source,
        device_hours=None if coming is None else used.device_s * devices / HOUR_S + coming,
        left_device_hours=coming,
    )


def _disk(study: Study, planner: Planner, at_once: int) -> Disk:
    records = predictions = models = 0
    of_data: Mapping[str, tuple[int, int]] = {
        name: (predictions_bytes(workload, data), weights_bytes(workload, data))
        for name in study.names
        for workload in [WORKLOADS[name]]
        for data in [load_data(workload, data_root(study), study.storage)]
    }
    for plan in planner.plans:
        trials, first = planner.planned(plan), plan.trials["tune"][0]
        epochs, every = first.epochs, first.validate_every
        scores, evaluated = scores_in(WORKLOADS[plan.cell.workload]), study.evaluate.seeds
        records += (trials - evaluated) * record_bytes("tune", scores, epochs, every)
        records += evaluated * record_bytes("evaluate", scores, epochs, every)
        each, weights = of_data[plan.cell.workload]
        predictions += evaluated * each
        models += 0 if study.evaluate.keep_models == "none" else evaluated * weights
    return Disk(
        records=records,
        predictions=predictions,
        models=models,
        checkpoints=_checkpoints(study, planner, at_once, {name: weights for name, (_, weights) in of_data.items()}),
        image_cache=cache_bytes(),
    )


def _checkpoints(study: Study, planner: Planner, at_once: int, weights: Mapping[str, int]) -> int:
    """Bytes of those that are there at a time: a worker has a pack, or a cell's trials that wait for one another."""
    held = list[int]()
    for name, size in weights.items():
        plans = [plan for plan in planner.plans if plan.cell.workload == name]
        held += [COPIES * size * plan.halving.most for plan in plans if plan.halving.most]
        members = study.resources.members(name, WORKLOADS[name].light)
        packs, rest = divmod(sum(planner.planned(plan) for plan in plans if not plan.halving.most), members)
        held += [COPIES * size * members] * min(at_once, packs) + [COPIES * size * rest]
    return sum(sorted(held)[-at_once:])
