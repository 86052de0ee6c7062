"""What Tune tells of trials, passed on to the planner, the ledger and the observers; and what happens to lost ones."""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import ray
from ray import cloudpickle, tune

from orchestrator.engine.code_shipping import OtherCode
from orchestrator.engine.faults import NotReady, full_disk, lost_with_its_node, reason
from orchestrator.engine.observer import Observer
from orchestrator.engine.saving import curve_in
from orchestrator.engine.time_limits import Clocks
from orchestrator.engine.trial import Job
from orchestrator.errors import ClusterFailed, Preempted, StorageFailed
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import CurveRow, Record, now
from orchestrator.study.cells import Trial
from orchestrator.study.planner import Planner

RETRIES: Final = 2
"""How often a trial is given out again after the worker that trained it was lost, without having come further than
before. Tune's own retries leave out a worker that dies while it is being reset for the next trial, so they are not
used."""
BEFORE_START: Final = 10
"""How often a trial is given out again when its worker was lost before it began, or with its whole node: Tune hands out
the actors of dead workers that it had put aside, which is not the trial's doing."""
LOSSES_AT_START: Final = 4
"""Workers that may be lost before the first one starts: then the cluster is at fault, and no trial is recorded."""
GRACE_S: Final = 20.0
"""Time for checkpoints after SIGTERM: AWS Batch and Kubernetes kill after 30 s."""
LOG_CHARS: Final = 4000
NOBODYS: Final = tune.PlacementGroupFactory([{"no trial": 1}])
"""Resources that no trial is given: a process under them gets none."""


class Unsaved:
    """Tune pickles what it is given, for `Tuner.restore`, which is never used: leave nothing to pickle."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class Watch(Unsaved, tune.Callback):  # type: ignore[misc]
    """Takes results from Tune to the planner and the observer, and ends trials whose time is up."""

    def __init__(self, planner: Planner, ledger: Ledger, observer: Observer, job_of: Callable[[Trial], Job]) -> None:
        self._planner, self._ledger, self._observer, self._job_of = planner, ledger, observer, job_of
        self.live: dict[str, Trial] = {}
        self.alone: set[str] = set()
        """Trials that are not to be put into packs: one was lost with its worker."""
        self._losses: Counter[str] = Counter()
        self._false_starts: Counter[str] = Counter()
        self._furthest: Counter[str] = Counter()
        self._begun: set[str] = set()
        self._worked = False
        self._rows: dict[str, dict[int, CurveRow]] = {}
        self._started: dict[str, datetime] = {}
        self._paused: dict[str, Mapping[str, Any]] = {}
        """What the workers of trials said that wait for others: seconds and device."""
        self._trials: list[Any] = []
        self._preempted = False
        self._clocks = Clocks(planner.study.tune.time_limit_s, planner.study.tune.epoch_time_limit_s)

    def preempt(self) -> None:
        """End the sweep at its next step: the machine is taken away."""
        self._preempted = True

    def begin(self, trial: Trial) -> None:
        """Remember a trial that is given out."""
        self.live[trial.id] = trial
        self._rows[trial.id] = {}
        self._started[trial.id] = now()
        with contextlib.suppress(Exception):
            self._observer.began(trial)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Let the display move; end what has no time left; end all when the machine is taken away."""
        self._trials = trials
        if self._preempted:
            raise Preempted
        if self._clocks.due(time.monotonic()):
            self._end_overdue(trials)
        with contextlib.suppress(Exception):
            self._observer.tick()

    def _end_overdue(self, trials: list[Any]) -> None:
        """Kill the workers of trials whose time is up: nothing else ends code that does not return.

        A trial has a worker from the moment when it is handed to it, so a worker that hangs in between is found too.
        """
        moment = time.monotonic()
        for trial in trials:
            actor = None if trial.is_finished() else trial.temporary_state.ray_actor
            if actor is not None:
                jobs = trial.config["jobs"]
                live = [job["trial_id"] for job in jobs if job["trial_id"] in self.live]
                for trial_id in live:
                    self._clocks.start(trial_id, trial.trial_id, moment, len(jobs))
                if any(self._clocks.overdue(trial_id, moment) for trial_id in live):
                    ray.kill(actor)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker is ready for a trial: from here on a loss is charged to the trial."""
        self._begun.add(trial.trial_id)
        self._worked = True

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Keep the learning curve: a trial that the scheduler stops is committed from here."""
        for trial_id, words in result.get("told", ()):
            if trial_id in self.live:
                with contextlib.suppress(Exception):
                    self._observer.told(self.live[trial_id], words)
        for row in result.get("rows", ()):
            rows = self._rows.get(row["trial_id"])
            if rows is not None:
                rows[row["epoch"]] = CurveRow.of(row)
        for job in self._jobs(trial):
            trial_id = job.trial_id
            self._clocks.came(trial_id, time.monotonic())
            self._planner.reached(self.live[trial_id], len(self._rows[trial_id]))
            if paused := result.get("ended", {}).get(trial_id):
                self._paused[trial_id] = paused
            if trial_id in result.get("ended", {}) and not result["done"]:
                self._complete(job)  # others of its pack go on

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The workers committed their records, or the scheduler stopped the trial before."""
        if trial.last_result.get("worn"):
            trial.placement_group_factory = NOBODYS  # Tune hands a process on by this, and ends what nobody asks for
        for job in self._jobs(trial):
            self._complete(job)
        # Tune keeps every trial, with 11 KB of moving averages that nothing reads.
        trial.run_metadata.metric_analysis, trial.run_metadata.metric_n_steps = {}, {}

    def _jobs(self, trial: Any) -> list[Job]:
        """The jobs of a trial of Tune that are under way."""
        return [Job(**job) for job in trial.config["jobs"] if job["trial_id"] in self.live]

    def _complete(self, job: Job) -> None:
        record = self._ledger.find(job.trial_id, job.phase)
        if record is None or record.attempt < job.attempt:
            curve = self._curve(job)
            if job.until is not None and len(curve) >= job.until:
                self._planner.pause(self._forget(job), curve)
                self.settle()
                return
            if len(curve) >= self.live[job.trial_id].epochs:  # its last epoch is told after its record is written
                raise StorageFailed(f"the record of a trial that has ended is gone from {self._ledger.store.uri}")
            record = self._commit(job, curve, status="stopped", val=curve[-1].val if curve else ())
        self._finish(job, record)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker died, or its machine failed it: try again, and record a failure when that does not help.

        Of a pack nobody knows whose doing it was: its members are tried again, each alone.

        What is no trial's fault is never recorded as one: a full disk or a storage that fails ends the sweep with
        StorageFailed, workers that lack what a trial needs and nodes that die again and again with ClusterFailed.
        """
        jobs, error = self._jobs(trial), _error(trial)
        file = Path(trial.error_file or "")
        text = file.read_text("utf-8", errors="replace") if file.is_file() else "the worker was lost"
        if (full := full_disk(error)) is not None:
            raise full
        why, cause = reason(error, text), getattr(error, "cause", None)
        if OtherCode.__name__ in why:
            raise ClusterFailed(why)
        if len(trial.config["jobs"]) > 1:
            for job in jobs:
                self.alone.add(job.trial_id)
                self._give_back(job, why)
            return
        (job,) = jobs
        if (limit := self._clocks.exceeded(job.trial_id)) is not None:
            log = f"{limit.log}\n{text}"[-LOG_CHARS:]
            self._fail(job, limit.reason, log)
            return
        innocent = trial.trial_id not in self._begun or lost_with_its_node(error)
        if len(self._rows[job.trial_id]) > self._furthest[job.trial_id]:
            self._furthest[job.trial_id] = len(self._rows[job.trial_id])
            del self._losses[job.trial_id]  # what was lost before does not stop it
        (self._false_starts if innocent else self._losses)[job.trial_id] += 1
        if not self._worked and self._false_starts.total() > LOSSES_AT_START:
            raise ClusterFailed(
                f"{self._false_starts.total()} workers were lost before one could start, the last one by: {why} "
                "Look at the Ray logs, at RAY_AUTH_MODE, and whether the nodes have the code (`ship: true` in the "
                "cluster profile sends it), then run the same command again"
            )
        if self._losses[job.trial_id] <= RETRIES and self._false_starts[job.trial_id] <= BEFORE_START:
            self._give_back(job, why)
            return
        if isinstance(cause, StorageFailed):
            raise StorageFailed(str(cause))
        if innocent or isinstance(cause, NotReady):
            tried = self._losses[job.trial_id] + self._false_starts[job.trial_id]
            raise ClusterFailed(
                f"{self.live[job.trial_id].cell.name} {job.phase} {job.number} was given to {tried} workers and could "
                f"not begin or stay on any: {why} No trial is recorded for that; mend it, then run the same command "
                "again"
            )
        self._fail(job, why, text[-LOG_CHARS:])

    def save(self) -> None:
        """Let every worker write its checkpoint, as far as the time allows that a preempted machine is given."""
        actors = [trial.temporary_state.ray_actor for trial in self._trials]
        saving = [actor.save_now.remote() for actor in actors if actor is not None]
        if saving:
            ray.wait(saving, num_returns=len(saving), timeout=GRACE_S)

    def _curve(self, job: Job) -> tuple[CurveRow, ...]:
        return tuple(row for _, row in sorted(self._rows[job.trial_id].items()))

    def _fail(self, job: Job, error: str, log: str) -> None:
        """Record a failure with the epochs that are known of it: a lost worker may not have reported its last ones."""
        saved = self._ledger.store.get(job.checkpoint)
        kept = () if saved is None else curve_in(job.checkpoint, saved)
        curve = max(self._curve(job), self._planner.curve(self.live[job.trial_id]), kept, key=len)
        self._finish(job, self._commit(job, curve, status="failed", error=error, log=log))

    def settle(self) -> None:
        """Record the trials that waited and do not go on."""
        while stops := self._planner.stops:
            for stop in stops:
                job, said = self._job_of(stop.trial), self._paused.pop(stop.trial.id)
                started = now() - timedelta(seconds=said["wall_s"])
                record = self._record(job, started, stop.curve, status="stopped", val=stop.val, **said)
                self._planner.finish(stop.trial, record)
                with contextlib.suppress(Exception):
                    self._observer.finished(stop.trial, record)

    def _commit(self, job: Job, curve: tuple[CurveRow, ...], **outcome: Any) -> Record:
        started = self._started[job.trial_id]
        return self._record(job, started, curve, wall_s=(now() - started).total_seconds(), **outcome)

    def _record(self, job: Job, started: datetime, curve: tuple[CurveRow, ...], **outcome: Any) -> Record:
        self._ledger.commit(job.record(started, curve, **outcome), job.phase)
        self._ledger.store.delete(job.checkpoint)
        record = self._ledger.find(job.trial_id, job.phase)
        assert record is not None
        return record

    def _finish(self, job: Job, record: Record) -> None:
        trial = self._forget(job)
        self._planner.finish(trial, record)
        with contextlib.suppress(Exception):
            self._observer.finished(trial, record)
        self.settle()

    def _give_back(self, job: Job, why: str) -> None:
        planned = self._forget(job)
        self._planner.give_back(planned)
        with contextlib.suppress(Exception):
            self._observer.lost(planned, why)

    def _forget(self, job: Job) -> Trial:
        self._clocks.stop(job.trial_id)
        del self._rows[job.trial_id], self._started[job.trial_id]
        return self.live.pop(job.trial_id)


def _error(trial: Any) -> BaseException | None:
    """What Ray raised for a trial's task, as Tune kept it; None where that cannot be read."""
    try:
        with Path(trial.pickled_error_file or os.devnull).open("rb") as file:
            error = cloudpickle.load(file)
    except Exception:  # of a class that only the worker knows, or no such file
        return None
    return error if isinstance(error, BaseException) else None
