"""A running Ray cluster, through its Jobs API: one job, the driver and then the report."""

import asyncio
import contextlib
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from clusters.submission import Options, State, Submission, Word, options
from orchestrator.engine.code_shipping import parcel
from orchestrator.errors import REPORTED, BadInput, ClusterFailed

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

WORDS: Final[dict[str, Word]] = {
    "PENDING": "waiting",
    "RUNNING": "running",
    "SUCCEEDED": "ended",
    "FAILED": "failed",
    "STOPPED": "stopped",
}
HERE: Final = {"127.0.0.1", "localhost", "::1"}
MESSAGE_CHARS: Final = 300
OVERRIDES: Final = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Variables that Ray puts before the address it is given."""
NEEDED: Final = "the Jobs API needs more of Ray: pip install 'tailsweep[ray-jobs]'"


class RayJobsOptions(Options):
    """Options of the target `ray-jobs`."""

    ship: bool = True
    python: str = "python"
    shared_folder: bool = False
    runtime_env: Mapping[str, Any] = {}
    stop_s: int = 30


class RayJobs:
    """A job whose id is the submission's name: the cluster itself refuses it twice. It dies with the cluster."""

    def __init__(self, submission: Submission, sent: Mapping[str, Any]) -> None:
        profile = submission.profile
        self._submission = submission
        self._options = chosen = options(RayJobsOptions, profile)
        address = urlsplit(profile.address or "")
        if address.scheme not in {"http", "https"} or not address.hostname:
            raise BadInput(
                f"profile {profile.name}: address is that of a Ray dashboard, http://HOST:8265: "
                f"got {profile.address!r}; set it by --cluster-set address=http://HOST:8265"
            )
        if submission.shards > 1:
            raise BadInput(
                f"one Ray cluster takes one driver of a study: got {submission.shards} shards; Ray Tune runs as many "
                "trials as fit from one driver"
            )
        if profile.image:
            raise BadInput(
                f"profile {profile.name}: a running Ray cluster has its image: got {profile.image!r}; leave image out, "
                "or set options.runtime_env.image_uri"
            )
        if chosen.ship and "working_dir" in chosen.runtime_env:
            raise BadInput(
                f"profile {profile.name}: what is sent along is the working_dir of the job: got another one, "
                f"{chosen.runtime_env['working_dir']!r}; set options.ship=false, or leave it out"
            )
        for name, reference in profile.secrets.items():
            if reference != f"env:{name}":
                raise BadInput(
                    f"profile {profile.name}: a secret of a Ray job is in the environment of the cluster's nodes, "
                    f"under its own name, env:{name}: got {reference!r}; what is sent can be read there"
                )
        if "://" not in submission.storage and address.hostname not in HERE and not chosen.shared_folder:
            raise BadInput(
                f"the nodes of {profile.address} must reach the storage: got the folder {submission.storage}; take "
                "--storage s3://BUCKET/PREFIX, or a folder that all nodes share with options.shared_folder=true"
            )

    def preview(self) -> str:
        """The arguments of `JobSubmissionClient.submit_job`."""
        with self._request() as request:
            if self._options.ship:
                folder = Path(request["runtime_env"]["working_dir"])
                there = ", ".join(sorted(path.name for path in folder.iterdir()))
                request["runtime_env"]["working_dir"] = f"<a folder with {there}>"
            return json.dumps(request, indent=1)

    def submit(self) -> dict[str, Any]:
        """Send the job, unless the cluster has it."""
        with self._client() as client:
            if _info(client, self._submission.name) is None:
                with self._request() as request:
                    client.submit_job(**request)
        return {"address": self._submission.profile.address, "job": self._submission.name}

    def state(self) -> State:
        """What the cluster says of the job; a cluster that was restarted does not know it."""
        with self._client() as client:
            info = _info(client, self._submission.name)
        if info is None:
            return State("failed", ("the cluster does not know the job: it was started anew, or forgot it",))
        message = (info.message or "").strip().partition("\n")[0][:MESSAGE_CHARS]
        word = "ended" if info.driver_exit_code in REPORTED else WORDS.get(info.status.value, "unknown")
        return State(word, (f"{info.status.value.lower()}: {message}",))

    def logs(self, follow: bool) -> Iterator[str]:
        """Lines of the driver and the report."""
        name = self._submission.name
        with self._client() as client:
            if _info(client, name) is None:
                return
            if not follow:
                yield from client.get_job_logs(name).splitlines()
                return
            parts, loop, rest = client.tail_job_logs(name), asyncio.new_event_loop(), ""
            try:
                with contextlib.suppress(StopAsyncIteration):
                    while True:
                        *whole, rest = (rest + loop.run_until_complete(anext(parts))).split("\n")
                        yield from whole
            finally:
                loop.run_until_complete(parts.aclose())
                loop.close()
            if rest:
                yield rest

    def cancel(self) -> None:
        """SIGTERM to the driver: trials under way leave a checkpoint."""
        name = self._submission.name
        with self._client() as client:
            info = _info(client, name)
            if info is not None and not info.status.is_terminal():
                client.stop_job(name)

    @contextlib.contextmanager
    def _request(self) -> Iterator[dict[str, Any]]:
        """Arguments of `submit_job`; what is shipped lies in files that exist as long as the context."""
        profile, chosen = self._submission.profile, self._options
        given = dict(chosen.runtime_env)
        own = {
            "PYTHONSAFEPATH": "1",
            "RAY_JOB_STOP_WAIT_TIME_S": str(chosen.stop_s),
        }  # what is shipped is on PYTHONPATH
        variables = {**profile.environment, **own, **given.pop("env_vars", {})}
        with tempfile.TemporaryDirectory(prefix="tailsweep-ship-") as folder:
            if chosen.ship:
                _copy(parcel(Path(folder), self._submission.study.plugins), Path(folder))
                given["working_dir"] = folder
            yield {
                "submission_id": self._submission.name,
                "entrypoint": self._entrypoint(),
                "entrypoint_num_cpus": 0,
                "runtime_env": {**given, "env_vars": variables},
                "metadata": {"study": self._submission.study.study},
            }

    def _entrypoint(self) -> str:
        """The driver and, when it came to its end, the report; with the exit code of the first that has one."""
        driver = [*self._submission.driver(0), "--address", "auto", *self._submission.start]
        needed = [f': "${{{name}:?must be set on the nodes}}"' for name in self._submission.profile.secrets]
        train, report = (
            shlex.join([self._options.python, "-m", "orchestrator.cli", *words[1:]])
            for words in (driver, self._submission.reporter)
        )
        then = f"case $code in {' | '.join(map(str, REPORTED))}) {report}; told=$? ;; *) told=$code ;; esac"
        return "; ".join((*needed, train, "code=$?", then, '[ "$code" != 0 ] || code=$told', "exit $code"))

    @contextlib.contextmanager
    def _client(self) -> "Iterator[JobSubmissionClient]":
        """A client of the profile's cluster; what it raises becomes ours."""
        address = str(self._submission.profile.address)
        for name in OVERRIDES:
            if os.environ.get(name, address) != address:
                raise BadInput(f"Ray would take {os.environ[name]} from {name} instead of {address}: unset {name}")
        try:
            from ray.exceptions import RayError
            from ray.job_submission import JobSubmissionClient
        except ImportError as err:
            raise BadInput(f"{NEEDED}: {err}") from None
        try:
            yield JobSubmissionClient(address)
        except (OSError, RuntimeError, RayError) as err:
            said = " ".join(str(err).split())
            if "ray[default]" in said:
                raise BadInput(f"{NEEDED}: {said}") from None
            raise ClusterFailed(
                f"the Ray dashboard at {address} must answer: {said[:MESSAGE_CHARS]}; if it asks for a token, "
                "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to the file that holds it"
            ) from err


def _info(client: "JobSubmissionClient", name: str) -> Any:
    """What the cluster knows of a job, None where it does not know it."""
    try:
        return client.get_job_info(name)
    except RuntimeError as err:
        if "status code 404" in str(err):
            return None
        raise


def _copy(places: Iterable[str], folder: Path) -> None:
    """Bring packages and single files into one folder: the Jobs API takes no files by themselves."""
    for place in map(Path, places):
        if place.is_dir() and place.parent != folder:
            shutil.copytree(place, folder / place.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif place.is_file():
            shutil.copy(place, folder)


TARGET: Final = RayJobs
