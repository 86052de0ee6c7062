"""A study on EC2 machines that `ray up` starts: the driver is a job of the cluster's head.

The head's job server runs it, and knows it by the submission's name: how it is, its log, and how to stop it.
"""

import contextlib
import json
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from clusters.aws_ray.config import AwsRayOptions, cluster, cluster_name
from clusters.shared.inside import ENTRYPOINT, environment
from clusters.shared.programs import answer, lines
from clusters.submission import State, Submission, Word, options
from orchestrator.engine.private_ray import keep_token_private
from orchestrator.errors import ClusterFailed

HEAD: Final = "http://127.0.0.1:8265"
GONE: Final = "not found!"
COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
WORDS: Final[dict[str, Word]] = {
    "PENDING": "waiting",
    "RUNNING": "running",
    "succeeded": "ended",
    "was stopped": "stopped",
    "failed": "failed",
}
"""By what `ray job status` calls it."""


class AwsRay:
    """A cluster per study, and a job on it per attempt."""

    def __init__(self, submission: Submission, sent: Mapping[str, Any]) -> None:
        self._name = submission.name
        self._options = options(AwsRayOptions, submission.profile)
        self._cluster = cluster(submission, self._options)
        self._cluster_name = cluster_name(submission)
        commands = [[*submission.driver(0), "--address", "auto"], submission.reporter]
        self._variables = json.dumps({"env_vars": environment(commands)})

    def preview(self) -> str:
        """The commands, and the cluster as `ray up` reads it."""
        commands = ["ray get-auth-token --generate", *map(shlex.join, (self._up("FILE"), self._submit("FILE")))]
        said = "\n".join(f"# {command}" for command in commands)
        return f"{said}\n{self._written}"

    def submit(self) -> dict[str, Any]:
        """Start the machines and the job, unless they are there."""
        keep_token_private()  # `ray` would make it readable for everybody
        answer(["ray", "get-auth-token", "--generate"])
        with self._file() as file:
            answer(self._up(file), timeout_s=self._options.up_s)
            try:
                answer(self._submit(file))
            except ClusterFailed as err:
                if "already exists" not in str(err):
                    raise
        return {"cluster": self._cluster_name, "region": self._options.region, "job": self._name}

    def state(self) -> State:
        """What the job server says of the job."""
        try:
            with self._file() as file:
                said = COLOURS.sub("", answer(self._exec(file, "ray", "job", "status", "--address", HEAD, self._name)))
        except ClusterFailed as err:
            if GONE in str(err):
                return State(
                    "ended", (f"no cluster {self._cluster_name} in {self._options.region}: it was taken down",)
                )
            if "does not exist" in str(err):
                return State("failed", (f"cluster {self._cluster_name} is up, but was not given the job", self._bill))
            return State("unknown", (str(err),))
        found = re.search(rf"(?:Status for job|Job) '{re.escape(self._name)}':? (was stopped|\w+)", said)
        if found is None:
            return State("unknown", (" ".join(said.split())[-400:],))
        word = WORDS.get(found[1], "unknown")
        message = re.search(r"Status message: (.*)", said)
        told = [f"job {found[1].lower()}", *([] if message is None else [message[1].strip()])]
        return State(word, tuple(told) if word in {"waiting", "running"} else (*told, self._bill))

    def logs(self, follow: bool) -> Iterator[str]:
        """The job's log."""
        with self._file() as file:
            words = ["ray", "job", "logs", "--address", HEAD, *(["--follow"] if follow else []), self._name]
            yield from lines(self._exec(file, *words))

    def cancel(self) -> None:
        """Stop the driver, which saves trials under way, and take the machines down unless `down` is false."""
        with self._file() as file:
            try:
                answer(self._exec(file, "ray", "job", "stop", "--address", HEAD, self._name), timeout_s=600)
            except ClusterFailed as err:
                if GONE in str(err):
                    return
                if "does not exist" not in str(err):
                    raise
            if self._options.down:
                answer(["ray", "down", "--yes", file], timeout_s=600)

    @property
    def _bill(self) -> str:
        return f"the head of {self._cluster_name} still runs, and costs, until tailsweep cancel takes it down"

    @property
    def _written(self) -> str:
        return yaml.safe_dump(self._cluster, sort_keys=False, width=120)

    @contextlib.contextmanager
    def _file(self) -> Iterator[str]:
        """The cluster in a file: `ray` wants one for every call."""
        with tempfile.TemporaryDirectory(prefix="tailsweep-") as folder:
            path = Path(folder) / f"{self._cluster_name}.yaml"
            path.write_text(self._written, "utf-8")
            yield str(path)

    def _up(self, file: str) -> list[str]:
        return ["ray", "up", "--yes", "--disable-usage-stats", file]

    def _submit(self, file: str) -> list[str]:
        job = ["ray", "job", "submit", "--address", HEAD, "--no-wait", "--submission-id", self._name]
        return self._exec(file, *job, "--runtime-env-json", self._variables, "--", *ENTRYPOINT.split())

    def _exec(self, file: str, *words: str) -> list[str]:
        return ["ray", "exec", file, f"{shlex.join(words)} 2>&1"]  # Ray reports jobs in its log, on standard error


TARGET: Final = AwsRay
