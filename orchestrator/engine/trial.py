"""One trial as a generator of epochs: the only file here that trains."""

import os
import platform
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from orchestrator.engine.devices import device_for, name_of
from orchestrator.engine.faults import NotReady, brief, said
from orchestrator.engine.installed import plugins, versions
from orchestrator.engine.memory import Peak, tidy
from orchestrator.engine.ranks import several
from orchestrator.engine.sampling import sampling
from orchestrator.engine.saving import restored, row_of, saved_as, score_rows
from orchestrator.engine.training import Notes, Paused, Training
from orchestrator.errors import Preempted, StorageFailed
from orchestrator.ledger import models
from orchestrator.ledger.checkpoints import checkpoint_key
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import CurveRow, Phase, Record, ScoreRow, Settings, now
from orchestrator.storage.data_roots import local_root, needed, prepared_in
from orchestrator.storage.store import open_store, remote
from orchestrator.study.cells import Trial, data_root, declare, declared_data, places
from orchestrator.study.spec import Study
from workloads import WORKLOADS
from workloads.diverged import finite
from workloads.memory import WholeBatch, out_of_memory
from workloads.metrics import shot_metrics
from workloads.ranks import Ranks, join, meeting
from workloads.recipe import Recipe
from workloads.trainers import Run, start
from workloads.workload import Data, DataError

LOG_CHARS: Final = 4000
HALVES: Final = 2
"""Pieces of a batch in the second try of a trial that ran out of memory."""
NO_GPU: Final = "the trial was given a GPU, and torch finds none on this node: it was trained on the CPU"


@dataclass(frozen=True)
class Job:
    """A trial as it travels to a worker: plain values only, so that no code is unpickled from a storage or a queue."""

    trial_id: str
    study: str
    phase: Phase
    workload: str
    data: str
    recipe: str
    settings: Settings
    seed: int
    number: int
    attempt: int
    epochs: int
    storage: str
    data_root: str | None
    cpus: float
    gpus: float
    checkpoint_every_s: float
    plugins: tuple[str, ...] = ()
    plugins_from: str | None = None
    own: Mapping[str, Any] | None = None
    until: int | None = None
    """Epochs after which it waits for other trials, without a worker; None where it waits for none."""
    keep_model: bool = False
    search: str | None = None
    processes: int = 1
    system_metrics: bool = False

    @classmethod
    def of(cls, trial: Trial, attempt: int, study: Study, storage: str, until: int | None = None) -> "Job":
        """The job of a trial in a study, trained until so many epochs."""
        share = study.resources.share(trial.cell.workload)
        return cls(
            trial_id=trial.id,
            study=study.study,
            phase=trial.phase,
            workload=trial.cell.workload,
            data=trial.cell.data,
            recipe=str(trial.cell.recipe),
            settings=dict(trial.settings),
            seed=trial.seed,
            number=trial.number,
            attempt=attempt,
            epochs=trial.epochs,
            storage=storage,
            data_root=data_root(study),
            cpus=share.cpus,
            gpus=share.gpus,
            checkpoint_every_s=study.checkpoint_every_s,
            plugins=study.plugins,
            plugins_from=study.plugins_from,
            own=declared_data(study).get(trial.cell.workload),
            until=None if until == trial.epochs else until,
            keep_model=study.evaluate.keep_models != "none",
            search=trial.search,
            processes=share.processes,
            system_metrics=study.tracking.system_metrics,
        )

    @property
    def device(self) -> torch.device:
        """The device of this process, one of those that train the job."""
        return device_for(self.cpus / self.processes, self.gpus / self.processes, self.settings)

    @property
    def checkpoint(self) -> str:
        """Key of the checkpoint in the storage."""
        return checkpoint_key(self.trial_id)

    def record(self, started: datetime, curve: tuple[CurveRow, ...] = (), **outcome: Any) -> Record:
        """The record of this job's outcome."""
        return Record(
            trial_id=self.trial_id,
            study=self.study,
            workload=self.workload,
            data=self.data,
            recipe=self.recipe,
            settings=self.settings,
            seed=self.seed,
            number=self.number,
            search=self.search,
            attempt=self.attempt,
            epochs=self.epochs,
            epochs_run=len(curve),
            curve=curve,
            started=started,
            finished=now(),
            host=platform.node(),
            versions=dict(versions()),
            **outcome,
        )


def train(job: Job, tell: Callable[[str], None], notes: Notes, clock: Callable[[], float]) -> Training:
    """Train a job, epoch by epoch, from its checkpoint if there is one, and commit its record at the end.

    Yields the row of every epoch, those that the checkpoint holds included, beside where a run stops for others.
    `tell` is told what a user must know, `clock` says the seconds that the job has taken. Returns where a job waits
    that is trained `until` an epoch: it leaves its checkpoint and no record.

    A machine that is taken away throws Preempted into it: the checkpoint is written at once, and the generator ends.

    An error of the training itself (a loss that is not finite) becomes a failed record, since the same trial would fail
    again; where memory did not suffice it is tried once more first, with every batch in two pieces. Errors of the
    machine are raised, to be tried again: StorageFailed, DataError, OSError, and NotReady where data or plugins are not
    the driver's. A checkpoint that cannot be used is told and dropped.
    """
    ledger, device = _ledger(job.storage), job.device
    store = ledger.store if job.system_metrics else None
    with sampling(store, (job.trial_id, job.attempt), device) as keep:
        return (yield from _train(job, ledger, device, tell, notes, clock, keep))


def _train(
    job: Job,
    ledger: Ledger,
    device: torch.device,
    tell: Callable[[str], None],
    notes: Notes,
    clock: Callable[[], float],
    keep: Callable[[], None],
) -> Training:
    """What `train` does, with what keeps the samples of the machine."""
    started = now()
    peak = Peak(device)
    if job.gpus > 0 and device.type == "cpu":
        notes.said[NO_GPU] = None
        tell(NO_GPU)
    data = prepared(job)
    rows: list[CurveRow] = []
    pieces, log = 1, ""
    while True:
        rows.clear()
        saved = ledger.store.get(job.checkpoint)
        try:
            others = partial(prepared, job), partial(follow, job, pieces, saved)
            with several(job.processes, device, *others) as ranks:
                outcome = yield from _trained(job, ledger, data, device, saved, rows, notes, clock, pieces, ranks)
            if outcome is None or isinstance(outcome, float):
                keep()
                return None if outcome is None else Paused(outcome, name_of(device))
            break
        except (StorageFailed, DataError, NotReady, OSError):
            raise
        except Exception as err:
            log += traceback.format_exc()
            short = out_of_memory(err)
            again = short and pieces == 1
            if not again and (saved is None or short or isinstance(err, WholeBatch)):
                outcome = {
                    "status": "failed",
                    "error": brief(said(err)),
                    "log": log[-LOG_CHARS:],
                    "wall_s": clock(),
                }
                break
            # What was resumed may have been damaged, even where it could be read: it must not cost the trial.
            place = ledger.store.locate(job.checkpoint)
            words = f"the checkpoint {place} cannot be used ({brief(said(err))}): the trial began anew"
        if again:
            pieces = HALVES
            tell(f"memory did not suffice for a batch of {job.recipe}: once more in {pieces} pieces")
            tidy()
            continue
        notes.said[words] = None
        tell(words)
        ledger.store.delete(job.checkpoint)
    outcome |= peak.taken()
    keep()  # whoever finds the record finds them
    ledger.commit(job.record(started, tuple(rows), device=name_of(device), **outcome), job.phase)
    ledger.store.delete(job.checkpoint)
    return None


def _trained(
    job: Job,
    ledger: Ledger,
    data: Data,
    device: torch.device,
    saved: bytes | None,
    rows: list[CurveRow],
    notes: Notes,
    clock: Callable[[], float],
    pieces: int,
    ranks: Ranks,
) -> Generator[Tensor | CurveRow | None, None, dict[str, Any] | float | None]:
    """Train from the bytes of a checkpoint, or from the start; returns the outcome.

    Where the job has to wait, the seconds so far; None after Preempted.
    """
    began = clock()
    yield None  # what data and plugins warn of is no part of training
    notes.listening = True
    fit = start(WORKLOADS[job.workload], data, Recipe.parse(job.recipe), job.settings, job.seed, device, pieces, ranks)
    yield None
    spent = 0.0 if saved is None else _resume(fit, saved, job, device)
    notes.said.update(dict.fromkeys(fit.notes))

    def save() -> float:
        wall_s = spent + clock() - began
        ledger.store.put(job.checkpoint, saved_as(job.trial_id, {"fit": fit.state_dict(), "wall_s": wall_s}))
        return wall_s

    for epoch in fit.curve:
        rows.append(row_of(epoch))
        yield rows[-1]
    if job.until is not None and len(rows) >= job.until:
        return spent
    last_save = time.monotonic()
    while len(fit.curve) < job.epochs:
        notes.listening = True
        yield from fit.steps()
        epoch = fit.curve[-1]
        rows.append(row_of(epoch))
        try:
            yield rows[-1]
        except Preempted:
            save()
            return None
        if epoch.epoch + 1 == job.until:
            return save()
        if time.monotonic() - last_save >= job.checkpoint_every_s and epoch.epoch + 1 < job.epochs:
            save()
            last_save = time.monotonic()
    notes.listening = False
    ranks.close()  # the others have ended
    outcome: dict[str, Any] = {
        "status": "completed",
        "kept_epoch": fit.kept().epoch,
        "val": score_rows(fit.kept().val),
    }
    if job.phase == "evaluate":
        outcome["test"], outcome["predictions"] = _test(job, ledger, fit, data)
    outcome["wall_s"] = spent + clock() - began
    outcome["log"] = "\n".join(notes.said)[-LOG_CHARS:] or None
    return outcome


def follow(job: Job, pieces: int, saved: bytes | None, rank: int, port: int) -> None:
    """Train beside the first process of a job, to the last epoch: that one alone reports and writes."""
    warnings.simplefilter("ignore")  # of what the first one warns of
    data, device = prepared(job), job.device
    ranks = join(rank, job.processes, meeting(job.processes, port), device)
    fit = start(WORKLOADS[job.workload], data, Recipe.parse(job.recipe), job.settings, job.seed, device, pieces, ranks)
    if saved is not None:
        _resume(fit, saved, job, device)
    while len(fit.curve) < (job.until or job.epochs):
        next(iter(fit))


def prepared(job: Job) -> Data:
    """What a trial needs on its node: plugins and data, those that the driver has; raises what is no trial's fault."""
    try:
        plugins(job.plugins, job.plugins_from)
        if job.own is not None:
            declare(job.own, data_here(job.data_root, places(job.own)))
        root = data_here(job.data_root, needed(WORKLOADS[job.workload]))
        with prepared_in(job.storage, job.data_root, WORKLOADS[job.workload]):
            data = _data(job.workload, root)
    except (StorageFailed, OSError):
        raise
    except Exception as err:
        raise NotReady(f"{platform.node()} cannot prepare {job.workload}: {brief(said(err))}") from err
    if data.fingerprint != job.data:
        raise NotReady(
            f"the data changed: the study began on {job.data}, {platform.node()} read {data.fingerprint}; bring the "
            "same data to every node, or start the sweep again to train on the new ones"
        )
    return data


def _resume(fit: Run, saved: bytes, job: Job, device: torch.device) -> float:
    """Continue a fit from the bytes of a checkpoint; returns the seconds that were spent.

    Raises whatever a damaged one makes torch or the fit raise, and ValueError for that of another trial.
    """
    try:
        state = restored(job.checkpoint, saved, device)
    except (OSError, StorageFailed) as err:
        raise ValueError(str(err)) from err  # that of these bytes, not of a disk
    fit.load_state_dict(state["fit"])
    epochs = [row.epoch for row in fit.curve]
    if epochs != list(range(len(epochs))) or len(epochs) >= job.epochs:
        raise ValueError(f"its epochs are {epochs[:20]}")
    return float(state["wall_s"])


def data_here(root: str | None, names: Iterable[str] = ()) -> Path | None:
    """Where data sets lie on this node: the driver's place for them, or the node's own TAILSWEEP_DATA."""
    own = os.environ.get("TAILSWEEP_DATA")
    if root is None or remote(root) or Path(root).is_dir() or not own:
        return local_root(root, names, check=False)
    return local_root(own, names, check=False)


def _test(job: Job, ledger: Ledger, fit: Run, data: Data) -> tuple[tuple[ScoreRow, ...], str]:
    """Score the kept epoch on test and keep the predictions, before the record says where; returns their name, too."""
    workload = WORKLOADS[job.workload]
    y, pred = fit.labels(data.test), fit.predict(data.test)
    where = workload.regions(data, data.test)
    scores = finite(shot_metrics(pred, y, where, fit.metrics, workload.grid.unit), "on test")
    name = ledger.commit_predictions(job.trial_id, y, pred, job.attempt)
    if workload.task == "regression" and not workload.dense:  # what the report recalibrates
        ledger.commit_validation(job.trial_id, name, fit.labels(data.val), fit.predict(data.val))
    if job.keep_model:
        models.write(ledger.store, job.trial_id, name, fit.tensors())
    ledger.commit_splits(job.workload, data)
    return score_rows(scores), name


@lru_cache(maxsize=2)
def _ledger(storage: str) -> Ledger:
    """Opened once per worker process; the driver has checked that it can be written."""
    return Ledger(open_store(storage, check=False))


@lru_cache(maxsize=2)
def _data(workload: str, root: Path | None) -> Data:
    """Loaded once per worker process: actors are reused from trial to trial."""
    return WORKLOADS[workload].load(root)
