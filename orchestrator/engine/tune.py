"""Ray Tune over a planner: one experiment, a searcher that asks it, actors that are reused, no restore.

Why it is built so: `Tuner.restore` loses schedulers and starts over when its state file is torn, so a sweep is
resumed from the ledger into a fresh Tuner; OptunaSearch knows one study and tells stopped trials as complete; a
function trainable poisons the next trial when its clean-up is slow, so the trainable is a class.
"""

import contextlib
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from clusters.profile import Profile
from orchestrator.engine.code_shipping import OtherCode, check_code, code, parcel
from orchestrator.engine.early_stopping import SCHEDULERS, PerCellScheduler
from orchestrator.engine.head_monitor import head_watched
from orchestrator.engine.observer import Observer
from orchestrator.engine.preemption import on_sigterm, preempted_by_exit
from orchestrator.engine.private_ray import keep_token_private, session_folder, started_in
from orchestrator.engine.trial import Job, run
from orchestrator.errors import BadInput, ClusterFailed, Preempted, StorageFailed
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import CurveRow, Record, ScoreRow, now
from orchestrator.study.cells import Trial
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study

# For every process that follows: what lies in the current folder, or beside a script, is not imported.
os.environ.setdefault("PYTHONSAFEPATH", "1")
# Read by Ray at import: no per-result files, no progress printer of its own, no re-reading of its own state.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune
from ray.exceptions import RayError
from ray.tune.error import TuneError
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

# Ray writes what Tune hands on into its logs: workers have credentials from their node, as the driver has from its own.
ENV_VARS_TO_PROPAGATE.difference_update([name for name in ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")])

REPORT_S: Final = 0.5
"""Without early stopping a worker reports this often, not every epoch: the driver handles some 800 results a second."""
RETRIES: Final = 2
"""How often a trial is given out again after the worker that trained it was lost. Tune's own retries leave out a worker
that dies while it is being reset for the next trial, so they are not used."""
BEFORE_START: Final = 10
"""How often a trial is given out again when its worker was lost before it began: Tune hands out the actors of dead
workers that it had put aside, which is not the trial's doing."""
GRACE_S: Final = 20.0
"""Time for checkpoints after SIGTERM: AWS Batch and Kubernetes kill after 30 s."""
REASON_CHARS: Final = 300
AGAIN: Final = "start the cluster again, then run the same command again: what is in the ledger is kept"
LOSSES_AT_START: Final = 4
"""Workers that may be lost before the first one starts: then the cluster is at fault, and no trial is recorded."""


class TrialActor(tune.Trainable):  # type: ignore[misc]  # ray is untyped here
    """A worker process: trains one job after the other, without starting anew."""

    def setup(self, config: Mapping[str, Any]) -> None:
        """Begin a job; training happens in `step`."""
        check_code(config["code"])
        self._report_s: float = config["report_s"]
        job = Job(**config["job"])
        self._epochs = job.epochs
        self._rows = run(job)

    def step(self) -> dict[str, Any]:
        """Train for a while and report the epochs of it."""
        deadline = time.monotonic() + self._report_s
        rows: list[dict[str, Any]] = []
        for row in self._rows:
            rows.append(asdict(row))
            # The last epoch is reported with the commit that follows it: no scheduler stops a trial that has ended.
            if time.monotonic() >= deadline and row.epoch + 1 < self._epochs:
                return {"rows": rows, "done": False}
        return {"rows": rows, "done": True}

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Take the next job; the old one is closed first, so that its memory is free."""
        self._rows.close()
        self.setup(new_config)
        return True

    def save_now(self) -> None:
        """Write the checkpoint of the job under way, whose machine is taken away; nothing can follow."""
        with contextlib.suppress(StopIteration, Preempted):  # the one ends at its checkpoint, the other had not begun
            self._rows.throw(Preempted())

    def cleanup(self) -> None:
        """Close the job."""
        self._rows.close()


class _Unsaved:
    """Tune pickles what it is given, for `Tuner.restore`, which is never used: leave nothing to pickle."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class PlanSearcher(_Unsaved, Searcher):  # type: ignore[misc]
    """Gives Tune what the planner gives."""

    def __init__(self, planner: Planner, issue: Callable[[Trial], dict[str, Any]]) -> None:
        super().__init__(metric="training_iteration", mode="max")  # Tune wants a metric; the planner has its own
        self._planner, self._issue = planner, issue

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next job; None while all wait for others, FINISHED when nothing is left."""
        trial = self._planner.next()
        if trial is not None:
            return self._issue(trial)
        return Searcher.FINISHED if self._planner.done else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Outcomes reach the planner through `Watch`, with their reason."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""


class Watch(_Unsaved, tune.Callback):  # type: ignore[misc]
    """Takes results from Tune to the planner and the observer."""

    def __init__(self, planner: Planner, ledger: Ledger, observer: Observer) -> None:
        self._planner, self._ledger, self._observer = planner, ledger, observer
        self.live: dict[str, Trial] = {}
        self._losses: Counter[str] = Counter()
        self._false_starts: Counter[str] = Counter()
        self._begun: set[str] = set()
        self._worked = False
        self._rows: dict[str, dict[int, CurveRow]] = {}
        self._started: dict[str, Any] = {}
        self._trials: list[Any] = []
        self._preempted = False

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
        """Let the display move; end when the machine is taken away."""
        self._trials = trials
        if self._preempted:
            raise Preempted
        with contextlib.suppress(Exception):
            self._observer.tick()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker is ready for a trial: from here on a loss is charged to the trial."""
        self._begun.add(trial.trial_id)
        self._worked = True

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Keep the learning curve: a trial that the scheduler stops is committed from here."""
        trial_id = trial.config["job"]["trial_id"]
        rows = self._rows.get(trial_id)
        if rows is not None:
            for row in result.get("rows", ()):
                scores = tuple(ScoreRow(**score) for score in row["val"])
                rows[row["epoch"]] = CurveRow(row["epoch"], row["stage"], row["loss"], scores)
            self._planner.reached(self.live[trial_id], len(rows))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker committed its record, or the scheduler stopped the trial before."""
        job = Job(**trial.config["job"])
        record = self._ledger.find(job.trial_id, job.phase)
        if record is None or record.attempt < job.attempt:
            curve = tuple(row for _, row in sorted(self._rows[job.trial_id].items()))
            if len(curve) >= self.live[job.trial_id].epochs:  # its last epoch is told after its record is written
                raise StorageFailed(f"the record of a trial that has ended is gone from {self._ledger.store.uri}")
            record = self._commit(job, curve, status="stopped", val=curve[-1].val if curve else ())
        self._finish(job, record)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A worker died, or its machine failed it: try again, and record a failure when that does not help."""
        job = Job(**trial.config["job"])
        file = Path(trial.error_file or "")
        text = file.read_text("utf-8", errors="replace") if file.is_file() else "the worker was lost"
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        reason = next((line for line in lines if "Error" in line), lines[-1])[:REASON_CHARS]
        if OtherCode.__name__ in reason:
            raise ClusterFailed(reason)
        begun = trial.trial_id in self._begun
        (self._losses if begun else self._false_starts)[job.trial_id] += 1
        if not self._worked and self._false_starts.total() > LOSSES_AT_START:
            raise ClusterFailed(
                f"{self._false_starts.total()} workers were lost before one could start, the last one by: {reason} "
                "Look at the Ray logs, at RAY_AUTH_MODE, and whether the nodes have the code (`ship: true` in the "
                "cluster profile sends it), then run the same command again"
            )
        if self._losses[job.trial_id] <= RETRIES and self._false_starts[job.trial_id] <= BEFORE_START:
            planned = self._forget(job)
            self._planner.give_back(planned)
            with contextlib.suppress(Exception):
                self._observer.lost(planned, reason)
            return
        record = self._commit(job, (), status="failed", error=reason, log=text[-4000:])
        self._finish(job, record)

    def save(self) -> None:
        """Let every worker write its checkpoint, as far as the time allows that a preempted machine is given."""
        actors = [trial.temporary_state.ray_actor for trial in self._trials]
        saving = [actor.save_now.remote() for actor in actors if actor is not None]
        if saving:
            ray.wait(saving, num_returns=len(saving), timeout=GRACE_S)

    def _commit(self, job: Job, curve: tuple[CurveRow, ...], **outcome: Any) -> Record:
        started = self._started[job.trial_id]
        wall = (now() - started).total_seconds()
        self._ledger.commit(job.record(started, curve, wall_s=wall, **outcome), job.phase)
        self._ledger.store.delete(job.checkpoint)
        record = self._ledger.find(job.trial_id, job.phase)
        assert record is not None
        return record

    def _finish(self, job: Job, record: Record) -> None:
        trial = self._forget(job)
        self._planner.finish(trial, record)
        with contextlib.suppress(Exception):
            self._observer.finished(trial, record)

    def _forget(self, job: Job) -> Trial:
        del self._rows[job.trial_id], self._started[job.trial_id]
        return self.live.pop(job.trial_id)


def sweep(study: Study, planner: Planner, ledger: Ledger, profile: Profile, observer: Observer) -> None:
    """Train what the planner misses.

    Raises BadInput when Ray cannot be reached, ClusterFailed when it loses every worker, StorageFailed when the ledger
    cannot be written.
    """
    if planner.done:
        return
    watch = Watch(planner, ledger, observer)
    make = SCHEDULERS[study.tune.scheduler]

    def issue(trial: Trial) -> dict[str, Any]:
        earlier = ledger.find(trial.id, trial.phase)
        job = Job.of(trial, 0 if earlier is None else earlier.attempt + 1, study, ledger.store.uri)
        watch.begin(trial)
        return {"cell": trial.cell.name, "job": asdict(job), "code": code(), "report_s": 0.0 if make else REPORT_S}

    with (
        preempted_by_exit(),
        connect(profile, study.plugins),
        tempfile.TemporaryDirectory(prefix="tailsweep-") as scratch,
    ):
        tuner = tune.Tuner(
            tune.with_resources(TrialActor, {"cpu": study.resources.cpus, "gpu": study.resources.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=PlanSearcher(planner, issue),
                scheduler=PerCellScheduler(planner, make, study.tune.select_by) if make else FIFOScheduler(),
                num_samples=-1,
                max_concurrent_trials=concurrency(study),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=study.study,
                storage_path=scratch,  # Tune's own files are of no use afterwards: the ledger replaces them
                callbacks=[watch],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
                verbose=0,
            ),
        )
        try:
            with on_sigterm(watch.preempt):
                tuner.fit()
        except Preempted:
            watch.save()
            raise
        except TuneError as err:
            known = _underlying(err)
            if known is err:
                raise
            raise known from None
        except RayError as err:
            raise ClusterFailed(f"Ray gave up: {_first_line(err)}; {AGAIN}") from err


def _underlying(err: BaseException) -> BaseException:
    """What Tune wrapped: a failure of the storage or the cluster, wherever it came up, else the error itself."""
    link: BaseException | None = err
    while link is not None:
        if isinstance(link, StorageFailed | ClusterFailed):
            return link
        link = link.__cause__ or link.__context__
    return err


def _first_line(err: BaseException) -> str:
    return str(err).strip().partition("\n")[0][:REASON_CHARS]


def concurrency(study: Study) -> int:
    """Trials that the cluster can run at once; raises BadInput when not even one fits."""
    there, asked = ray.cluster_resources(), {"CPU": study.resources.cpus, "GPU": study.resources.gpus}
    fits = min(int(there.get(name, 0) / amount + 1e-9) for name, amount in asked.items() if amount > 0)
    if fits < 1 and study.resources.concurrent is None:
        raise BadInput(
            f"a trial must fit into the cluster: it asks for {asked['CPU']:g} CPUs and {asked['GPU']:g} GPUs, "
            f"the cluster has {there.get('CPU', 0):g} and {there.get('GPU', 0):g}; lower resources, "
            "or set resources.concurrent for a cluster that grows"
        )
    return study.resources.concurrent or fits


@contextlib.contextmanager
def connect(profile: Profile, plugins: Iterable[str] = ()) -> Iterator[None]:
    """Connect to the profile's Ray, or start one on this machine; either way let go of it at the end.

    With `ship`, its workers import this code and the plugins from here. Raises BadInput when Ray does not answer, and
    ClusterFailed when it no longer does.
    """
    for quiet in ("ray.tune", "ray._private.authentication.authentication_token_setup"):
        # The one misses result files that nobody wants and repeats errors, the other tells that tokens are on.
        logging.getLogger(quiet).setLevel(logging.CRITICAL)
    options: dict[str, Any] = dict(profile.start)
    with contextlib.ExitStack() as stack:
        if profile.address is None:
            keep_token_private()
            options.setdefault("num_cpus", len(os.sched_getaffinity(0)))
            folder = stack.enter_context(session_folder())
            options.setdefault("_temp_dir", str(folder / "r"))
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tailsweep-")))
        if profile.ship:
            sent = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tailsweep-ship-")))
            options["runtime_env"] = {"py_modules": parcel(sent, plugins), "excludes": ["__pycache__"]}
        try:
            with started_in(folder):
                ray.init(address=profile.address or "local", **options)
        except (ConnectionError, RuntimeError, ValueError, RayError) as err:
            raise BadInput(f"{profile.unreachable()}: {_first_line(err)}") from err
        with _watched(profile):
            try:
                yield
            finally:
                ray.shutdown()


def _watched(profile: Profile) -> contextlib.AbstractContextManager[None]:
    """A Ray of this process has its head beside it; one that somebody else started may lose it."""
    return contextlib.nullcontext() if profile.address is None else head_watched(ray.get_runtime_context().gcs_address)
