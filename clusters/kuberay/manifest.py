"""A submission as a RayJob: its own Ray cluster, which grows with the work, and the commands that its head runs.

Each retry is a new cluster, which the ledger lets go on where the last one was: so the head, the weak point of a Ray
cluster, may be lost. It holds no trials and belongs on a machine that is not taken away; workers may be.
"""

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from clusters.kuberay.api import RayJob
from clusters.shared.growing import check_growing
from clusters.shared.inside import ENTRYPOINT, environment
from clusters.submission import Options, Submission
from orchestrator.engine.capacity import fits
from orchestrator.errors import BadInput

USER: Final = 1000
LABELS: Final = {"app.kubernetes.io/part-of": "tailsweep"}
"""By which clusters/kuberay/manifests/network.yaml knows pods that may talk to each other."""
STOP_S: Final = 120
"""What trials under way have to leave a checkpoint before they are killed."""

Count = Annotated[int, Field(ge=0)]


class Toleration(Options):
    """A taint of nodes that pods tolerate, with the keys of Kubernetes."""

    key: str | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Pods(Options):
    """What a pod requests and where it may run."""

    cpus: Annotated[float, Field(gt=0)]
    memory: Annotated[str, Field(pattern=r"^[1-9][0-9]*(Mi|Gi|Ti)$")]
    node_selector: Mapping[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()


class Workers(Pods):
    """Pods that train."""

    min: Count = 0
    max: Annotated[int, Field(ge=1)]
    gpus: Count = 0
    gpu_resource: str = "nvidia.com/gpu"


class KubeRayOptions(Options):
    """The keys of a `kuberay` profile; clusters/kuberay/profile.yaml says what each is for."""

    context: str | None = None
    namespace: str
    service_account: str | None = None
    pull_secrets: tuple[str, ...] = ()
    volumes: Mapping[str, str] = {}
    ray_version: str | None = None
    head: Pods
    workers: Workers
    idle_s: Count = 300
    retries: Count = 3
    deadline_s: Annotated[int, Field(gt=0)] | None = None
    waiting_deadline_s: Annotated[int, Field(gt=0)] | None = None
    ttl_s: Count = 3600


def rayjob(submission: Submission, options: KubeRayOptions) -> dict[str, Any]:
    """The RayJob; raises BadInput for what could never run."""
    _check(submission, options)
    commands = [[*submission.driver(0), "--address", "auto"], submission.reporter]
    head, workers = options.head, options.workers
    manifest = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": submission.name,
            "namespace": options.namespace,
            "labels": dict(LABELS),
        },
        "spec": {
            "entrypoint": ENTRYPOINT,
            "submissionMode": "K8sJobMode",
            "backoffLimit": options.retries,
            **_given(activeDeadlineSeconds=options.deadline_s, preRunningDeadlineSeconds=options.waiting_deadline_s),
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": options.ttl_s,
            "submitterPodTemplate": _submitter(submission, options),
            "rayClusterSpec": {
                "rayVersion": options.ray_version or version("ray"),
                "authOptions": {"mode": "token"},
                "enableInTreeAutoscaling": True,
                "autoscalerOptions": {
                    "version": "v2",
                    "idleTimeoutSeconds": options.idle_s,
                    "resources": _resources({"cpu": "500m", "memory": "1Gi"}),
                    "securityContext": _confined(),
                },
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0"},
                    "template": _pod(
                        submission,
                        options,
                        head,
                        "ray-head",
                        {**environment(commands), "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S)},
                    ),
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "workers",
                        "replicas": workers.min,
                        "minReplicas": workers.min,
                        "maxReplicas": workers.max,
                        "rayStartParams": {},
                        "template": _pod(submission, options, workers, "ray-worker", {}),
                    }
                ],
            },
        },
    }
    try:
        RayJob.model_validate(manifest)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"profile {submission.profile.name}: its RayJob: {where}: {first['msg']}") from None
    return manifest


def _check(submission: Submission, options: KubeRayOptions) -> None:
    profile, largest, workers = submission.profile, submission.study.largest, options.workers
    name = f"profile {profile.name}"
    if largest.cpus > workers.cpus or largest.gpus > workers.gpus:
        raise BadInput(
            f"{name}: a trial must fit into a worker: it asks for {largest}, a worker has {workers.cpus:g} and "
            f"{workers.gpus}; lower resources, or raise options.workers"
        )
    each = fits(largest, {"CPU": workers.cpus, "GPU": workers.gpus})
    check_growing(submission, workers.min, workers.max, workers.max * each)
    paths = [PurePosixPath(path) for path in options.volumes.values()]
    if not submission.storage.startswith("s3://") and not any(
        PurePosixPath(submission.storage).is_relative_to(path) for path in paths
    ):
        raise BadInput(
            f"{name}: the storage must be reached from every pod: s3://, or a folder on a volume of options.volumes: "
            f"got {submission.storage}"
        )
    for variable, reference in profile.secrets.items():
        if not re.fullmatch(r"[a-z0-9.-]+/[A-Za-z0-9._-]+", reference):
            raise BadInput(
                f"{name}: secrets.{variable}: a secret is NAME/KEY of a Secret of Kubernetes: got {reference!r}"
            )


def _pod(
    submission: Submission, options: KubeRayOptions, pods: Pods, container: str, more: Mapping[str, str]
) -> dict[str, Any]:
    gpus = {pods.gpu_resource: str(pods.gpus)} if isinstance(pods, Workers) and pods.gpus else {}
    plain = {**submission.profile.environment, **more}
    secrets = {key: tuple(ref.split("/")) for key, ref in submission.profile.secrets.items()}
    spec: dict[str, Any] = {
        "securityContext": _user(),
        "containers": [
            {
                "name": container,
                "image": submission.profile.image,
                "env": [
                    *({"name": key, "value": value} for key, value in plain.items()),
                    *(
                        {"name": key, "valueFrom": {"secretKeyRef": {"name": secret, "key": entry}}}
                        for key, (secret, entry) in secrets.items()
                    ),
                ],
                "resources": _resources({"cpu": f"{pods.cpus:g}", "memory": pods.memory, **gpus}),
                "securityContext": _confined(),
                "volumeMounts": [{"name": claim, "mountPath": path} for claim, path in options.volumes.items()],
            }
        ],
        "terminationGracePeriodSeconds": STOP_S,
        "nodeSelector": dict(pods.node_selector),
        "tolerations": [toleration.model_dump(exclude_none=True) for toleration in pods.tolerations],
        "volumes": [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in options.volumes],
        "imagePullSecrets": [{"name": secret} for secret in options.pull_secrets],
        **_given(serviceAccountName=options.service_account),
    }
    if isinstance(pods, Workers):
        spec["automountServiceAccountToken"] = False  # only the head's autoscaler talks to Kubernetes
    return {"metadata": {"labels": dict(LABELS)}, "spec": spec}


def _submitter(submission: Submission, options: KubeRayOptions) -> dict[str, Any]:
    """The pod that hands the command to the head and shows its log; KubeRay fills in what it runs."""
    return {
        "metadata": {"labels": dict(LABELS)},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": _user(),
            "imagePullSecrets": [{"name": secret} for secret in options.pull_secrets],
            "nodeSelector": dict(options.head.node_selector),
            "tolerations": [toleration.model_dump(exclude_none=True) for toleration in options.head.tolerations],
            "containers": [
                {
                    "name": "ray-job-submitter",
                    "image": submission.profile.image,
                    "resources": _resources({"cpu": "500m", "memory": "1Gi"}),
                    "securityContext": _confined(),
                }
            ],
        },
    }


def _resources(amounts: dict[str, str]) -> dict[str, dict[str, str]]:
    return {"requests": dict(amounts), "limits": dict(amounts)}


def _user() -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _confined() -> dict[str, Any]:
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
