"""Requests to AWS Batch, as data: job definitions by their content, the job of the shards, the job of the report.

By default the shards are children of an array job, each a container with its own Ray, so that losing a spot
machine costs one shard's unsaved minutes. With `multinode`, one job spans several machines under one Ray.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any, Final

from pydantic import Field

from clusters.profile import Profile
from clusters.submission import Options, Submission
from orchestrator.errors import BadInput
from orchestrator.ledger.records import canonical

Request = dict[str, Any]

INDEX: Final = "$AWS_BATCH_JOB_ARRAY_INDEX"
HEAD, WORKERS = "0:0", "1:"
"""Nodes of a multi-node job; the open end lets a job say how many there are."""
REFERENCE: Final = re.compile(r"arn:[a-z-]+:(secretsmanager|ssm):.+")
RULES: Final = [
    {"onStatusReason": "Host EC2*", "action": "RETRY"},  # the machine was taken away
    {"onExitCode": "143", "action": "RETRY"},  # told to stop, and saved
    {"onReason": "*", "action": "EXIT"},  # without it, what no rule matches is tried again
]
MUST: Final = ("queue", "job_role", "execution_role")


class BatchOptions(Options):
    """Where jobs run and what one shard gets: a container of `vcpus`, `memory_mib` and `gpus`."""

    queue: str | None = None
    job_role: str | None = None
    execution_role: str | None = None
    log_group: str = "/tailsweep"
    region: str | None = None
    endpoint_url: str | None = None
    vcpus: Annotated[int, Field(ge=1)] = 4
    memory_mib: Annotated[int, Field(ge=512)] = 14_000
    gpus: Annotated[int, Field(ge=0)] = 0
    shared_memory_mib: Annotated[int, Field(ge=64)] | None = None
    attempts: int = 5
    timeout_s: int = 86_400
    report_queue: str | None = None
    report_vcpus: Annotated[int, Field(ge=1)] = 2
    report_memory_mib: Annotated[int, Field(ge=512)] = 6_000
    price_per_hour: Annotated[float, Field(ge=0)] | None = None
    multinode: bool = False
    nodes: int = 2
    instance_type: str | None = None


@dataclass(frozen=True)
class Requests:
    """All that is sent. The report waits for the job that `work` becomes: `report_after`."""

    definitions: tuple[Request, Request]
    work: Request
    report: Request

    def report_after(self, job: str) -> Request:
        """The report's job, once it is known what it waits for."""
        return {**self.report, "dependsOn": [{"jobId": job}]}


def requests(submission: Submission, options: BatchOptions) -> Requests:
    """The requests of a submission; raises BadInput for what AWS Batch cannot run."""
    check(submission, options)
    profile = submission.profile
    size = {"vcpus": options.vcpus, "memory_mib": options.memory_mib, "gpus": options.gpus}
    container = _container(profile, options, **size)
    work = _named(_multinode(container, options) if options.multinode else _single(container), options)
    small = _container(profile, options, options.report_vcpus, options.report_memory_mib, 0)
    report = _named(_single(small), options)
    return Requests(
        definitions=(work, report),
        work={
            **_job(submission, submission.name, options.queue, work),
            **(_nodes(submission, options) if options.multinode else _shards(submission, options)),
        },
        report={
            **_job(submission, f"{submission.name}-report", options.report_queue or options.queue, report),
            "containerOverrides": {"command": submission.reporter},
        },
    )


def check(submission: Submission, options: BatchOptions) -> None:
    """Raises BadInput where a profile and its study do not fit AWS Batch."""
    profile, study = submission.profile, submission.study
    missing = [f"options.{name}" for name in MUST if not getattr(options, name)]
    missing += [] if profile.image else ["image"]
    if missing:
        raise BadInput(
            f"profile {profile.name}: {', '.join(missing)} must be set; they are outputs of "
            f"clusters/aws_batch/stack.yaml: --cluster-set {missing[0]}=..., or a file with `extends: aws-batch`"
        )
    if not submission.storage.startswith("s3://"):
        raise BadInput(
            f"containers of AWS Batch share a storage in S3, not a folder here: got {submission.storage}; "
            "--storage s3://BUCKET/PREFIX"
        )
    for name, reference in profile.secrets.items():
        if not REFERENCE.fullmatch(reference):
            raise BadInput(
                f"secrets.{name} must be the ARN of a Secrets Manager secret or an SSM parameter: got {reference!r}"
            )
    if study.largest.gpus > options.gpus or study.largest.cpus > options.vcpus:
        raise BadInput(
            f"a trial must fit into a container: it asks for {study.largest}, got options.vcpus={options.vcpus} and "
            f"options.gpus={options.gpus}"
        )
    if options.multinode:
        _check_multinode(submission, options)


def _check_multinode(submission: Submission, options: BatchOptions) -> None:
    profile = submission.profile
    if submission.shards > 1:
        raise BadInput(f"a multi-node job is one Ray with one driver: got shards={submission.shards}; set shards=1")
    if not options.instance_type:
        raise BadInput("all nodes of a multi-node job are of one type: set options.instance_type, like g6.2xlarge")
    if "RAY_AUTH_TOKEN" not in profile.secrets and profile.environment.get("RAY_AUTH_MODE") != "disabled":
        raise BadInput(
            "Ray runs what it is sent, so its nodes share a token: set secrets.RAY_AUTH_TOKEN to the ARN of a secret, "
            "or environment.RAY_AUTH_MODE=disabled where only these machines reach one another"
        )


def _container(profile: Profile, options: BatchOptions, vcpus: int, memory_mib: int, gpus: int) -> Request:
    asked = {"VCPU": vcpus, "MEMORY": memory_mib, **({"GPU": gpus} if gpus else {})}
    region = {} if options.region is None else {"AWS_DEFAULT_REGION": options.region}
    environment = {**region, **profile.environment}
    return {
        "image": profile.image,
        "jobRoleArn": options.job_role,
        "executionRoleArn": options.execution_role,
        "resourceRequirements": [{"type": kind, "value": str(number)} for kind, number in asked.items()],
        "linuxParameters": {
            "initProcessEnabled": True,  # passes SIGTERM on, and buries what Ray leaves behind
            "sharedMemorySize": options.shared_memory_mib or memory_mib * 3 // 10,
        },
        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": options.log_group}},
        "environment": [{"name": name, "value": value} for name, value in sorted(environment.items())],
        "secrets": [{"name": name, "valueFrom": value} for name, value in sorted(profile.secrets.items())],
    }


def _single(container: Request) -> Request:
    return {"type": "container", "containerProperties": container}


def _multinode(container: Request, options: BatchOptions) -> Request:
    ranges = [
        {"targetNodes": nodes, "instanceTypes": [options.instance_type], "container": container}
        for nodes in (HEAD, WORKERS)
    ]
    return {
        "type": "multinode",
        "nodeProperties": {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": ranges},
    }


def _named(kind: Request, options: BatchOptions) -> Request:
    """A definition under a name that says its content: what is registered already is used again."""
    content = {
        **kind,
        "platformCapabilities": ["EC2"],
        "retryStrategy": {"attempts": options.attempts, "evaluateOnExit": RULES},
        "timeout": {"attemptDurationSeconds": options.timeout_s},
        "propagateTags": True,
    }
    digest = hashlib.blake2b(canonical(content).encode(), digest_size=8).hexdigest()
    return {"jobDefinitionName": f"tailsweep-{digest}", **content, "tags": {"tailsweep": "definition"}}


def _job(submission: Submission, name: str, queue: str | None, definition: Request) -> Request:
    return {
        "jobName": name,
        "jobQueue": queue,
        "jobDefinition": definition["jobDefinitionName"],
        "propagateTags": True,
        "tags": {"tailsweep-study": submission.study.study, "tailsweep-submission": submission.name},
    }


def _shards(submission: Submission, options: BatchOptions) -> Request:
    """Ray gets the size of the container: by itself it would count the cores of the machine."""
    has = ["--cluster-set", f"start.num_cpus={options.vcpus}", "--cluster-set", f"start.num_gpus={options.gpus}"]
    many = submission.shards > 1
    command = [*submission.driver(INDEX if many else 0), "--failed-ok", *has]
    array = {"arrayProperties": {"size": submission.shards}} if many else {}
    return {**array, "containerOverrides": {"command": command}}


def _nodes(submission: Submission, options: BatchOptions) -> Request:
    """The script goes along: the image needs no more than `tailsweep` and `ray`."""
    script = (resources.files("clusters.aws_batch") / "entrypoint.sh").read_text("utf-8")
    start = ["bash", "-c", script, "entrypoint.sh"]
    commands = {HEAD: [*start, *submission.driver(0), "--failed-ok"], WORKERS: start}
    has = [{"name": "NODE_CPUS", "value": str(options.vcpus)}, {"name": "NODE_GPUS", "value": str(options.gpus)}]
    overrides = [
        {"targetNodes": nodes, "containerOverrides": {"command": command, "environment": has}}
        for nodes, command in commands.items()
    ]
    return {"nodeOverrides": {"numNodes": options.nodes, "nodePropertyOverrides": overrides}}
