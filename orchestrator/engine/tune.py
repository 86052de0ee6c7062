"""Ray Tune over a planner: one experiment, a searcher that asks it, actors that are reused, no restore.

Why it is built so: `Tuner.restore` loses schedulers and starts over when its state file is torn, so a sweep is
resumed from the ledger into a fresh Tuner; OptunaSearch knows one study and tells stopped trials as complete; a
function trainable poisons the next trial when its clean-up is slow, so the trainable is a class.
"""

import contextlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from clusters.profile import Profile
from orchestrator.engine.capacity import concurrency
from orchestrator.engine.cluster_monitor import Vital, alive, listening, starting, watched
from orchestrator.engine.code_shipping import check_code, code, parcel
from orchestrator.engine.early_stopping import PerCellScheduler, maker
from orchestrator.engine.faults import brief, full_disk
from orchestrator.engine.memory import Wear
from orchestrator.engine.observer import Observer
from orchestrator.engine.packs import Jobs, Packer
from orchestrator.engine.preemption import on_sigterm, preempted_by_exit
from orchestrator.engine.private_ray import keep_token_private, session_folder, started_in
from orchestrator.engine.trial import Job
from orchestrator.errors import BadInput, ClusterFailed, Preempted, StorageFailed
from orchestrator.ledger.ledger import Ledger
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
# Read by a Ray that starts here: it would not answer before workers have begun that nobody asked for, and never does
# where one of them is killed while it begins.
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune
from ray.exceptions import RayError
from ray.tune.error import TuneError
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from orchestrator.engine.watch import Unsaved, Watch  # it imports Ray, for which the above must be set

# Ray writes what Tune hands on into its logs: workers have credentials from their node, as the driver has from its own.
ENV_VARS_TO_PROPAGATE.difference_update([name for name in ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")])

REPORT_S: Final = 0.5
"""Without early stopping a worker reports this often, not every epoch: the driver handles some 800 results a second."""
LET_GO_S: Final = 10.0
"""So long does Ray have to shut down."""
KINDS: Final = {"gcs_server": "head", "raylet": "node"}
"""Ray's processes without which nothing goes on, and what they are."""
AGAIN: Final = "start the cluster again, then run the same command again: what is in the ledger is kept"
AGAIN_HEAD: Final = "start the cluster again (ray start --head, then the workers)"
AGAIN_NODE: Final = "start it again (ray start --address=..., after ray stop)"


class TrialActor(tune.Trainable):  # type: ignore[misc]  # ray is untyped here
    """A worker process: trains one pack of jobs after the other, without starting anew until it is worn."""

    @classmethod
    def default_resource_request(cls, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        """What the trial is given; Tune hands a process on to trials that are given the same only."""
        return tune.PlacementGroupFactory(config["resources"], strategy="STRICT_PACK")

    def setup(self, config: Mapping[str, Any]) -> None:
        """Begin a pack; training happens in `step`."""
        check_code(config["code"])
        self._report_s: float = config["report_s"]
        jobs = [Job(**job) for job in config["jobs"]]
        self._workload, self._told = jobs[0].workload, list[tuple[str, str]]()
        self._reported: set[str] = set()
        self._wear = getattr(self, "_wear", None) or Wear(config["recycle_after"])  # of the process, not of a trial
        self._jobs = Jobs(jobs, lambda job, words: self._told.append((job.trial_id, words)))

    def step(self) -> dict[str, Any]:
        """Train for a while and report the epochs of it, with the trial that each is of, and the trials that ended."""
        deadline = time.monotonic() + self._report_s
        rows: list[dict[str, Any]] = []
        while not self._jobs.done:
            reached = self._jobs.advance()
            rows += [{"trial_id": job.trial_id, **asdict(row)} for job, row in reached]
            # A last epoch is reported with the commit that follows it: no scheduler stops a trial that has ended.
            last = any(row.epoch + 1 == (job.until or job.epochs) for job, row in reached)
            if time.monotonic() >= deadline and not last:
                break
        ended = {job.trial_id: paused for job, paused in self._jobs.ended if job.trial_id not in self._reported}
        self._reported |= ended.keys()
        for _ in ended:
            self._wear.trial_ended(self._workload)
        told = [*self._told]
        self._told.clear()
        return {
            "rows": rows,
            "told": told,
            "ended": {trial_id: paused and asdict(paused) for trial_id, paused in ended.items()},
            "done": self._jobs.done,
            "worn": self._wear.worn,
        }

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Take the next pack; the old one is closed first, so that its memory is free."""
        self._jobs.close()
        self.setup(new_config)
        return True

    def save_now(self) -> None:
        """Write the checkpoints of the jobs under way, whose machine is taken away; nothing can follow."""
        self._jobs.preempt()

    def cleanup(self) -> None:
        """Close the pack."""
        self._jobs.close()


class PlanSearcher(Unsaved, Searcher):  # type: ignore[misc]
    """Gives Tune what the planner gives, in packs."""

    def __init__(
        self,
        planner: Planner,
        packer: Packer,
        issue: Callable[[list[Trial]], dict[str, Any]],
        settle: Callable[[], None],
    ) -> None:
        super().__init__(metric="training_iteration", mode="max")  # Tune wants a metric; the planner has its own
        self._planner, self._packer, self._issue, self._settle = planner, packer, issue, settle

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next jobs; None while all wait for others, FINISHED when nothing is left."""
        trials = self._packer.next()
        while not trials and self._planner.stops:  # what another driver committed may end the wait of others
            self._settle()
            trials = self._packer.next()
        if trials:
            return self._issue(trials)
        return Searcher.FINISHED if self._planner.done else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Outcomes reach the planner through `Watch`, with their reason."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the state."""


class Silent(tune.ProgressReporter):  # type: ignore[misc]
    """Reports nothing: Tune's own reporter in notebooks clears what a cell has shown, whatever its verbosity."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        """Never."""
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: str) -> None:
        """Nothing."""


def sweep(study: Study, planner: Planner, ledger: Ledger, profile: Profile, observer: Observer) -> None:
    """Train what the planner misses.

    Raises BadInput when Ray cannot be reached, ClusterFailed when it loses every worker, StorageFailed when the ledger
    cannot be written.
    """
    if planner.done:
        return
    try:
        _sweep(study, planner, ledger, profile, observer)
    except OSError as err:
        full = full_disk(err)  # that of Ray's own files, or of the temporary ones here
        raise err if full is None else full from err


def _sweep(study: Study, planner: Planner, ledger: Ledger, profile: Profile, observer: Observer) -> None:
    make = maker(study.tune)

    def job_of(trial: Trial) -> Job:
        earlier = ledger.find(trial.id, trial.phase)
        attempt = 0 if earlier is None else earlier.attempt + 1
        return Job.of(trial, attempt, study, ledger.store.uri, planner.until(trial))

    watch = Watch(planner, ledger, observer, job_of)

    def issue(trials: list[Trial]) -> dict[str, Any]:
        jobs = [asdict(job_of(trial)) for trial in trials]
        for trial in trials:
            watch.begin(trial)
        first = trials[0]
        return {
            "cell": first.cell.name,
            "searches": make is not None and planner.searches(first),  # then it is alone
            "jobs": jobs,
            "code": code(),
            "report_s": 0.0 if make else REPORT_S,
            "resources": study.resources.share(first.cell.workload).bundles(),
            "recycle_after": study.resources.recycle_after,
        }

    with (
        preempted_by_exit(),
        connect(profile, study.plugins),
        tempfile.TemporaryDirectory(prefix="tailsweep-") as scratch,
    ):
        workers = concurrency(study, ray.nodes())
        packer = Packer(planner, workers, make is not None, watch.alone)
        tuner = tune.Tuner(
            TrialActor,
            tune_config=tune.TuneConfig(
                search_alg=PlanSearcher(planner, packer, issue, watch.settle),
                scheduler=PerCellScheduler(planner, make) if make else FIFOScheduler(),
                num_samples=-1,
                max_concurrent_trials=workers,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name=study.study,
                storage_path=scratch,  # Tune's own files are of no use afterwards: the ledger replaces them
                callbacks=[watch],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False, checkpoint_frequency=0),
                progress_reporter=Silent(),
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
    return full_disk(err) or err


def _first_line(err: BaseException) -> str:
    return brief(str(err).strip().partition("\n")[0])


@contextlib.contextmanager
def connect(profile: Profile, plugins: Iterable[str] = ()) -> Iterator[None]:
    """Connect to the profile's Ray, or start one on this machine; either way let go of it at the end.

    With `ship`, its workers import this code and the plugins from here. Raises BadInput when Ray does not answer, and
    ClusterFailed when it no longer does.
    """
    for quiet in ("ray.tune", "ray._private.authentication.authentication_token_setup"):
        # The one misses result files that nobody wants and repeats errors, the other tells that tokens are on.
        logging.getLogger(quiet).setLevel(logging.CRITICAL)
    logging.getLogger("ray._private.worker").addFilter(_of_use)
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
            with started_in(folder), watched([starting(KINDS)] if profile.address is None else []):
                ray.init(address=profile.address or "local", **options)
        except ClusterFailed:
            raise
        except Exception as err:  # Ray raises plain ones too, when a process of its own is gone during the start
            if (full := full_disk(err)) is not None:
                raise full from err
            if isinstance(err, (OSError, RuntimeError, ValueError, RayError)):
                raise BadInput(f"{profile.unreachable()}: {_first_line(err)}") from err
            raise ClusterFailed(f"Ray did not start: {_first_line(err)}") from err
        try:
            with watched(_vitals(profile)):
                yield
        finally:
            _let_go()


def _of_use(record: logging.LogRecord) -> bool:
    """Whether a warning of Ray is of use: that a thread handles no SIGTERM is known (`stream`)."""
    return "SIGTERM handler is not set" not in record.getMessage()


def _let_go() -> None:
    """Shut this process's part of Ray down, and what it started; where it hangs, since Ray is broken, leave it at that.

    What is left of a Ray of this process ends with the process.
    """
    thread = threading.Thread(target=ray.shutdown, name="ray-shutdown", daemon=True)
    thread.start()
    thread.join(LET_GO_S)


def _vitals(profile: Profile) -> list[Vital]:
    """What a sweep cannot go on without: head and node of this Ray, as processes where they are this process's own."""
    node = ray._private.worker._global_node
    if profile.address is None:
        own = ((kind, info.process) for kind in KINDS for info in node.all_processes.get(kind, ()))
        return [alive(f"the {KINDS[kind]} process of Ray on this machine ({kind}, {p.pid})", p) for kind, p in own]
    here = ray.get_runtime_context().get_node_id()
    address = next(f"{n['NodeManagerAddress']}:{n['NodeManagerPort']}" for n in ray.nodes() if n["NodeID"] == here)
    return [
        listening("its head", ray.get_runtime_context().gcs_address, AGAIN_HEAD),
        listening("the Ray node of this machine", address, AGAIN_NODE),
    ]
