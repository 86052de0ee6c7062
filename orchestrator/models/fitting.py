"""From a study to a model's folder: with weights that the ledger kept, or trained once more."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from orchestrator.engine.devices import device_for
from orchestrator.engine.faults import NotReady
from orchestrator.engine.memory import tidy
from orchestrator.engine.trial import HALVES, Job, prepared
from orchestrator.errors import BadInput, one_line
from orchestrator.ledger import models
from orchestrator.ledger.index import Index
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Record
from orchestrator.models.about import FORMAT, About, Labels
from orchestrator.models.card import card
from orchestrator.models.conformal import Calibration, calibrated
from orchestrator.models.folder import (
    ABOUT,
    CARD,
    LEVEL,
    ROWS,
    SETTING,
    TENSORS,
    VECTORS,
    TrainedModel,
    Whole,
    check_free,
    load_model,
    packed,
)
from orchestrator.report.one_row import one_row_yaml
from orchestrator.storage.store import open_store
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.cells import Trial, expand
from orchestrator.study.keys import Tune
from orchestrator.study.planner import Planner
from orchestrator.study.selection import ranked
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.data.custom.new_rows import PreparedRows, tree_of
from workloads.data.custom.schema import CustomData
from workloads.data.words import Sentences, with_unknown
from workloads.diverged import Diverged
from workloads.hparams import UnknownName
from workloads.memory import WholeBatch, out_of_memory
from workloads.recipe import Recipe
from workloads.trainers import start
from workloads.workload import Data, DataError, Maps, Workload, rows_in

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Evaluated:
    """An evaluate trial of a study, with its record and the ledger that has it."""

    study: Study
    plan: CellPlan
    trial: Trial
    record: Record
    ledger: Ledger

    @property
    def workload(self) -> Workload:
        """The data set."""
        return WORKLOADS[self.record.workload]


def evaluated(study: Study, recipe: str, workload: str | None = None, seed: int | None = None) -> Evaluated:
    """The trial of a recipe with a seed, by default with the best validation score; raises BadInput without one."""
    ledger = Ledger(open_store(study.storage, write=False))
    plans = [
        plan
        for plan in Planner(study, expand(study), ledger.find, known=Index(ledger)).plans
        if not plan.cell.replicate
    ]
    plan = _plan(plans, recipe, workload)
    done = {record.trial_id: record for record in plan.records("evaluate") if record.status == "completed"}
    there = {at: trial for at, trial in enumerate(plan.trials["evaluate"]) if trial.id in done}
    if not there:
        why = plan.missing() or "it is not trained yet"
        raise BadInput(f"{plan.cell.name} must have an evaluated trial: {why}; tailsweep sweep goes on with the study")
    if seed is None:
        best = _best([done[trial.id] for trial in there.values()], study.tune).trial_id
        seed = next(at for at, trial in there.items() if trial.id == best)
    if seed not in there:
        raise BadInput(f"--seed is one of {', '.join(map(str, there))} for {plan.cell.name}: got {seed}")
    return Evaluated(study, plan, there[seed], done[there[seed].id], ledger)


def _plan(plans: list[CellPlan], recipe: str, workload: str | None) -> CellPlan:
    try:
        name = str(Recipe.parse(recipe))
        of_recipe = [plan for plan in plans if str(plan.cell.recipe) == name]
        if not of_recipe:
            raise UnknownName("recipe", name, {str(plan.cell.recipe) for plan in plans}, "the study")
        found = [plan for plan in of_recipe if workload in (None, plan.cell.workload)]
        if not found:
            raise UnknownName("workload", str(workload), {plan.cell.workload for plan in plans}, "the study")
    except ValueError as err:
        raise BadInput(str(err)) from None
    if len(found) > 1:
        raise BadInput(f"--workload says which: {name} has {', '.join(plan.cell.workload for plan in found)}")
    return found[0]


def _best(records: Sequence[Record], tune: Tune) -> Record:
    """The one that the search would prefer; the first, where none has the scores."""
    return next(iter(ranked(records, tune.rules, tune.pick)), records[0])


Extra: TypeAlias = Callable[[TrainedModel, Tensor, Path], object]
"""Writes a further file of a model, whose test inputs `[N, …]` it is given, into its folder."""


def fit_model(chosen: Evaluated, out: Path, extras: Sequence[Extra] = ()) -> TrainedModel:
    """Write the folder of a trial's model, and return the model; raises BadInput, and nothing is half written.

    Kept weights are taken; else the trial is trained once more, in one process, which on the CPU gives the same ones
    where one trained it.
    """
    check_free(out)
    tensors, data = _tensors(chosen)
    if isinstance(data.train, Sentences):
        tensors[VECTORS] = with_unknown(data.train.vectors)
    record, workload = chosen.record, chosen.workload
    first = data.train.inputs(torch.zeros(1, dtype=torch.long), CPU)
    kind = str(first.dtype).removeprefix("torch.")
    counts = workload.bin_counts(data)
    grid = workload.grid
    labels = Labels(
        low=grid.low,
        high=grid.high,
        bins=grid.bins,
        learnt_in=grid.learnt_in,
        offset=data.units.offset,
        scale=data.units.scale,
        unit=workload.unit,
        counts=tuple(counts.tolist()),
        regions=tuple(workload.shots.of_counts(counts).tolist()),
    )
    own = next((item for item in chosen.study.custom if item.name == record.workload), None)
    calibration = _calibration(chosen, labels)
    content = packed(tensors, calibration)
    about = About(
        format=FORMAT,
        tailsweep=version("tailsweep"),
        study=chosen.study.study,
        workload=record.workload,
        target=workload.title,
        own=None if own is None else _without_places(own),
        recipe=record.recipe,
        settings=record.settings,
        seed=record.seed,
        trial=record.trial_id,
        data=record.data,
        device=record.device,
        equal=False,
        inputs=tuple(first.shape[1:]),
        type=kind,
        maps=data.train.shape if isinstance(data.train, Maps) else None,
        labels=labels,
        plugins=chosen.study.plugins,
        sha256=hashlib.sha256(content).hexdigest(),
    )
    rows = data.new_rows or PreparedRows(about.inputs, about.type)
    try:
        model = TrainedModel(about, rows, tensors)
    except ValueError as err:
        raise BadInput(f"no model of {record.workload} can be written: {one_line(err)}") from None
    kept = chosen.ledger.predictions(record)
    y, before = (kept[name].to_numpy().astype(np.float64) for name in ("y", "pred"))
    inputs = data.test.inputs(torch.arange(rows_in(data.test)), CPU)
    pred = model.predictor.predict(inputs)
    if isinstance(data.test, Maps):
        pred = pred.flatten()[data.test.at.numpy()]
    about = about.model_copy(update={"equal": bool(np.array_equal(pred, before))})
    with Whole(out) as folder:
        (folder / TENSORS).write_bytes(content)
        (folder / ABOUT).write_text(about.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (folder / ROWS).write_text(json.dumps(tree_of(rows), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        name = f"{chosen.study.study[:70]}-row"
        (folder / SETTING).write_text(one_row_yaml(chosen.study, chosen.plan, name), encoding="utf-8")
        said = card(about, y, pred, calibration, workload.origin.source, LEVEL)
        (folder / CARD).write_text(said, encoding="utf-8")
        for extra in extras:
            extra(model, inputs, folder)
    return load_model(out, about.plugins)


def _without_places(own: CustomData) -> dict[str, Any]:
    """A declaration as JSON without where its files lie, nor what made vectors of them: nobody else has these."""
    kept = {"file", "features"} if own.read_as != own.type else {"file"}  # of vectors `features` has to say something
    update = {key: "training data" if key in kept else None for key in own.places}
    return own.model_copy(update=update).model_dump(mode="json")


def _tensors(chosen: Evaluated) -> tuple[dict[str, Tensor], Data]:
    """Tensors of the model, kept or trained, and the data that it was trained on."""
    job = Job.of(chosen.trial, chosen.record.attempt, chosen.study, chosen.ledger.store.uri)
    kept = models.find(chosen.ledger.store, chosen.record.trial_id, chosen.record.predictions)
    try:
        if kept is not None:
            return kept, prepared(job)
        data = prepared(job)
        return _trained(chosen.workload, job, data), data
    except Exception as err:
        if not isinstance(err, DataError | NotReady | Diverged | WholeBatch) and not out_of_memory(err):
            raise
        raise BadInput(f"{chosen.plan.cell.name} cannot be trained again: {one_line(err)}") from None


def _trained(workload: Workload, job: Job, data: Data) -> dict[str, Tensor]:
    """Tensors of a job that this process trains alone: where memory does not suffice, in pieces, as the trial was."""

    def trained(pieces: int) -> dict[str, Tensor]:
        device = device_for(job.cpus, job.gpus, job.settings)
        run = start(workload, data, Recipe.parse(job.recipe), job.settings, job.seed, device, pieces)
        for _ in run:
            pass
        return run.tensors()

    try:
        return trained(1)
    except Exception as err:
        if not out_of_memory(err):
            raise
    tidy()
    return trained(HALVES * job.processes)


def _calibration(chosen: Evaluated, labels: Labels) -> Calibration | None:
    """Errors on validation rows, from the predictions that the ledger kept; None without, and for classes."""
    found = chosen.ledger.validation(chosen.record)
    if found is None or chosen.workload.task != "regression":
        return None
    y, pred = (found[name].to_numpy().astype(np.float64) for name in ("y", "pred"))
    return calibrated(pred, y, labels.grid, labels.by_bin)


def keep_best(study: Study, plans: list[CellPlan], ledger: Ledger) -> None:
    """Delete kept weights of all but the best trial of every cell whose seeds are all done, where the study says so."""
    if study.evaluate.keep_models != "best":
        return
    surplus = set[str]()
    for plan in plans:
        records = [record for record in plan.records("evaluate") if record.status == "completed"]
        if records and len(plan.records("evaluate")) == len(plan.trials["evaluate"]):
            surplus |= {record.trial_id for record in records} - {_best(records, study.tune).trial_id}
    models.drop(ledger.store, surplus)
