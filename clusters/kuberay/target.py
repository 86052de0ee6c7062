"""A study on Kubernetes, as a RayJob of KubeRay; kubectl talks to the cluster, with the user's rights."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from clusters.kuberay.manifest import KubeRayOptions, rayjob
from clusters.shared.programs import answer, lines
from clusters.submission import State, Submission, Word, options
from orchestrator.errors import BadInput

REFUSALS: Final = (
    "ValidationError(",
    "strict decoding error",
    "(BadRequest)",
    "is invalid",
    "(Forbidden)",
    "(NotFound)",
    "no matches for kind",
    "doesn't have a resource type",
    "does not exist",
    "must be logged in",
)
"""What kubectl says of input that no second call makes better."""

WORDS: Final[dict[str, Word]] = {
    "": "waiting",
    "Initializing": "waiting",
    "Waiting": "waiting",
    "Running": "running",
    "Complete": "ended",
    "Failed": "failed",
    "Suspending": "waiting",
    "Suspended": "waiting",
    "Retrying": "waiting",
    "Scheduling": "waiting",
    "Scheduled": "waiting",
}
"""By jobDeploymentStatus."""

REASONS: Final = {
    "SubmissionFailed": "the command could not be handed to the head",
    "DeadlineExceeded": "options.deadline_s is over",
    "PreRunningDeadlineExceeded": "the cluster was not ready within options.waiting_deadline_s",
    "AppFailed": "the driver ended with an error",
    "ValidationFailed": "KubeRay refuses the RayJob",
    "JobDeploymentStatusTransitionGracePeriodExceeded": "the job ended, but its submitter did not tell in time",
}

CODES: Final = {
    "2": "bad input",
    "3": "some trials failed; the report has their reasons",
    "4": "the storage failed",
    "143": "stopped; what was trained is kept",
}


class KubeRay:
    """A RayJob with the submission's name: created once, however often it is submitted."""

    def __init__(self, submission: Submission, sent: Mapping[str, Any]) -> None:
        self._name = submission.name
        self._options = options(KubeRayOptions, submission.profile)
        self._manifest = rayjob(submission, self._options)

    def preview(self) -> str:
        """The command, and the RayJob that it is given."""
        return f"# {' '.join(self._create)}\n{yaml.safe_dump(self._manifest, sort_keys=False, width=120)}"

    def submit(self) -> dict[str, Any]:
        """Make the RayJob, unless it is there."""
        sent = {"namespace": self._options.namespace, "rayjob": self._name}
        try:
            answer(self._create, self.preview(), ("(AlreadyExists)", *REFUSALS))
        except BadInput as err:
            if "(AlreadyExists)" not in str(err):
                raise
        return sent

    def state(self) -> State:
        """What KubeRay says of the RayJob, and Kubernetes of pods that do not run."""
        found = answer(self._kubectl("get", "rayjob", self._name, "--ignore-not-found", "-o", "json"), None, REFUSALS)
        if not found.strip():
            return State("ended", (f"no RayJob {self._name} in {self._options.namespace}: it was deleted",))
        status = json.loads(found).get("status") or {}
        deployment, job = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
        word = WORDS.get(deployment, "unknown")
        if word == "ended" and job != "SUCCEEDED":
            word = "stopped" if job == "STOPPED" else "failed"
        said = [f"RayJob {deployment or 'new'}, job {job.lower() or 'not begun'}"]
        if reason := status.get("reason"):
            said.append(f"{reason}: {REASONS.get(reason, 'KubeRay gives no more')}")
        if message := " ".join(status.get("message", "").split()):
            said.append(message)
            if (code := re.search(r"exit code (\d+)", message)) and code[1] in CODES:
                said.append(f"exit code {code[1]}: {CODES[code[1]]}")
        if status.get("failed"):
            said.append(f"{status['failed']} of {self._options.retries + 1} clusters failed")
        state = State(word, tuple(said))
        if state.live and (cluster := status.get("rayClusterName")):
            state = State(word, (*said, *self._pods(cluster)))
        return state

    def logs(self, follow: bool) -> Iterator[str]:
        """The driver's log, as the RayJob's submitter shows it."""
        yield from lines(self._kubectl("logs", f"job/{self._name}", "--tail=-1", *(["--follow"] if follow else [])))

    def cancel(self) -> None:
        """Delete the RayJob: KubeRay stops the driver, which saves trials under way, then the cluster."""
        answer(self._kubectl("delete", "rayjob", self._name, "--ignore-not-found", "--wait=false"), None, REFUSALS)

    def _pods(self, cluster: str) -> Iterator[str]:
        found = json.loads(answer(self._kubectl("get", "pods", "-l", f"ray.io/cluster={cluster}", "-o", "json")))
        running = 0
        for pod in found.get("items", []):
            why = _trouble(pod)
            if why is None:
                running += 1
            else:
                yield f"pod {pod['metadata']['name']}: {why}"
        yield f"{running} pods run"

    @property
    def _create(self) -> list[str]:
        return self._kubectl("create", "--validate=strict", "-f", "-")

    def _kubectl(self, *words: str) -> list[str]:
        context = ["--context", self._options.context] if self._options.context else []
        return ["kubectl", *context, "--namespace", self._options.namespace, *words]


def _trouble(pod: Mapping[str, Any]) -> str | None:
    """Why a pod does not run; None when it does."""
    status = pod.get("status", {})
    for container in status.get("containerStatuses", []):
        for kind in ("waiting", "terminated"):
            if held := container.get("state", {}).get(kind):
                return ": ".join(text for text in (held.get("reason", kind), held.get("message", "")) if text)
    for condition in status.get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason', 'not scheduled')}: {condition.get('message', '')}"
    phase = status.get("phase", "Unknown")
    return None if phase == "Running" else ": ".join(filter(None, (phase, status.get("reason"), status.get("message"))))


TARGET: Final = KubeRay
