"""Requests to AWS Batch: shapes that its client knows, and limits that only the service knows."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.validate import validate_parameters

from clusters.aws_batch.limits import check_limits
from clusters.aws_batch.machines import Machine, misfits, waiting
from clusters.aws_batch.requests import BatchOptions, Requests, requests
from clusters.profile import profile
from clusters.submission import Submission, options, target
from orchestrator.errors import BadInput
from orchestrator.study.spec import Study

STUDY = """
study: tiny
workloads: [nhanes-sbp]
recipes: {also: [l1 + lds, l1 + fds + ranksim]}
tune: {trials: 3}
evaluate: {seeds: 2}
train: {epochs: 4}
"""
SET = (
    "image=registry/tailsweep@sha256:1",
    "options.queue=spot",
    "options.job_role=arn:aws:iam::1:role/job",
    "options.execution_role=arn:aws:iam::1:role/execution",
    "secrets.MLFLOW_TRACKING_PASSWORD=arn:aws:secretsmanager:eu-central-1:1:secret:mlflow",
)
MULTINODE = (
    "options.multinode=true",
    "options.nodes=3",
    "options.instance_type=g6.xlarge",
    "options.gpus=1",
    "shards=1",
    "secrets.RAY_AUTH_TOKEN=arn:aws:secretsmanager:eu-central-1:1:secret:ray",
)


def submission(*more: str, cells: int = 12, storage: str = "s3://bucket/prefix", study: str = STUDY) -> Submission:
    return Submission(Study.read(study, "tiny"), profile("aws-batch", [*SET, *more]), storage, cells)


def asked(*more: str, **given: Any) -> Requests:
    sent = submission(*more, **given)
    return requests(sent, options(BatchOptions, sent.profile))


@pytest.mark.parametrize("more", [(), ("shards=1",), MULTINODE], ids=["array", "one shard", "multinode"])
def test_requests_have_the_shapes_that_the_service_declares(more: tuple[str, ...]) -> None:
    model = boto3.client("batch", "eu-central-1").meta.service_model
    found = asked(*more)
    check_limits(found)
    for definition in found.definitions:
        validate_parameters(definition, model.shape_for("RegisterJobDefinitionRequest"))
    for job in (found.work, found.report_after("id")):
        validate_parameters(job, model.shape_for("SubmitJobRequest"))


def test_shards_are_an_array_and_the_report_waits_for_it() -> None:
    sent = submission("options.vcpus=8", "options.gpus=1")
    found = requests(sent, options(BatchOptions, sent.profile))
    tags = {"tailsweep-study": "tiny", "tailsweep-submission": sent.name}
    work, report = (definition["jobDefinitionName"] for definition in found.definitions)
    assert found.work == {
        "jobName": sent.name,
        "jobQueue": "spot",
        "jobDefinition": work,
        "propagateTags": True,
        "tags": tags,
        "arrayProperties": {"size": 8},
        "containerOverrides": {
            "command": shlex.split(
                "tailsweep sweep tiny --stored --storage s3://bucket/prefix --shard '$AWS_BATCH_JOB_ARRAY_INDEX/8' "
                "--steal --failed-ok --cluster-set start.num_cpus=8 --cluster-set start.num_gpus=1"
            )
        },
    }
    assert found.report_after("the-id") == {
        "jobName": f"{sent.name}-report",
        "jobQueue": "spot",
        "jobDefinition": report,
        "propagateTags": True,
        "tags": tags,
        "dependsOn": [{"jobId": "the-id"}],
        "containerOverrides": {"command": sent.reporter},
    }


def test_one_shard_is_a_plain_job() -> None:
    work = asked(cells=1).work
    assert "arrayProperties" not in work
    assert "0/1" in work["containerOverrides"]["command"]


def test_a_container_gets_what_the_profile_says_and_secrets_by_reference_only() -> None:
    work, report = asked("options.gpus=1", "options.memory_mib=10000", "environment={A: b}").definitions
    container = work["containerProperties"]
    assert container["resourceRequirements"] == [
        {"type": "VCPU", "value": "4"},
        {"type": "MEMORY", "value": "10000"},
        {"type": "GPU", "value": "1"},
    ]
    assert container["linuxParameters"] == {"initProcessEnabled": True, "sharedMemorySize": 3000}
    assert {"name": "A", "value": "b"} in container["environment"]
    assert container["secrets"] == [
        {"name": "MLFLOW_TRACKING_PASSWORD", "valueFrom": "arn:aws:secretsmanager:eu-central-1:1:secret:mlflow"}
    ]
    assert work["retryStrategy"]["evaluateOnExit"] == [
        {"onStatusReason": "Host EC2*", "action": "RETRY"},
        {"onExitCode": "143", "action": "RETRY"},
        {"onReason": "*", "action": "EXIT"},
    ]
    kinds = [need["type"] for need in report["containerProperties"]["resourceRequirements"]]
    assert kinds == ["VCPU", "MEMORY"], "tables need no GPU"


def test_nodes_of_one_ray_share_a_type_and_run_one_script() -> None:
    found = asked(*MULTINODE)
    ranges = found.definitions[0]["nodeProperties"]["nodeRangeProperties"]
    assert [(each["targetNodes"], each["instanceTypes"]) for each in ranges] == [
        ("0:0", ["g6.xlarge"]),
        ("1:", ["g6.xlarge"]),
    ]
    overrides = found.work["nodeOverrides"]
    assert overrides["numNodes"] == 3
    head, workers = (each["containerOverrides"]["command"] for each in overrides["nodePropertyOverrides"])
    assert head[:4] == workers
    assert shlex.join(head[4:]) == (
        "tailsweep sweep tiny --stored --storage s3://bucket/prefix --shard 0/1 --steal --failed-ok"
    )
    assert workers[2].startswith("#!/usr/bin/env bash\n")


def test_a_definition_is_known_by_its_content() -> None:
    names = [each["jobDefinitionName"] for each in asked().definitions]
    other_study = asked(cells=3, study=STUDY.replace("tiny", "other"), storage="s3://elsewhere/too")
    assert [each["jobDefinitionName"] for each in other_study.definitions] == names
    changed = asked("image=registry/tailsweep@sha256:2")
    assert not {each["jobDefinitionName"] for each in changed.definitions} & set(names)
    assert asked("options.gpus=1").definitions[0]["jobDefinitionName"] not in names


@pytest.mark.parametrize(
    ("more", "given", "law"),
    [
        (("options.queue=null", "image=null"), {}, "options.queue, image must be set"),
        ((), {"storage": "/home/me/results"}, "share a storage in S3, not a folder here: got /home/me/results"),
        (("secrets.TOKEN=hunter2",), {}, "secrets.TOKEN must be the ARN of a Secrets Manager secret"),
        ((), {"study": STUDY + "resources: {gpus: 1}"}, "it asks for 1 CPUs and 1 GPUs, got options.vcpus=4"),
        (("options.attempts=11",), {}, "attempts must be 1 to 10: got 11"),
        (("options.timeout_s=59",), {}, "timeout_s must be at least 60: got 59"),
        (("environment.A=" + "x" * 25_000,), {}, "a request must be at most 24576 bytes"),
        ((), {"storage": "s3://bucket/" + "x" * 9000}, "command and environment of a container must be at most 8192"),
        ((*MULTINODE, "shards=2"), {}, "one Ray with one driver: got shards=2"),
        ((*MULTINODE, "options.instance_type=null"), {}, "set options.instance_type"),
        ((*MULTINODE, "options.nodes=1"), {}, "2 to 1,000 nodes: got 1"),
        ((*MULTINODE[:5],), {}, "its nodes share a token: set secrets.RAY_AUTH_TOKEN"),
        (("options.vcpu=4",), {}, "options.vcpu: Extra inputs are not permitted"),
    ],
)
def test_what_batch_cannot_run_is_refused_before_anything_is_sent(
    more: tuple[str, ...], given: dict[str, Any], law: str
) -> None:
    with pytest.raises(BadInput, match=law.replace("(", r"\(").replace("*", r"\*")):
        target(submission(*more, **given), {})


def _set(path: str, value: Any) -> Callable[[Requests], None]:
    """Change one value of the requests, by its path."""

    def change(found: Requests) -> None:
        tree: Any = {"work": found.work, "definition": found.definitions[0]}
        *way, last = path.split("/")
        for key in way:
            tree = tree[int(key)] if isinstance(tree, list) else tree[key]
        tree[int(last) if isinstance(tree, list) else last] = value

    return change


@pytest.mark.parametrize(
    ("change", "law"),
    [
        (_set("work/arrayProperties", {"size": 1}), "2 to 10,000 shards: got 1"),
        (_set("work/arrayProperties", {"size": 10_001}), "2 to 10,000 shards: got 10001"),
        (_set("work/arrayProperties", {"size": 2}), "cannot be an array"),
        (_set("work/jobName", "a b"), "a name has 1 to 128 letters"),
        (_set("definition/retryStrategy/evaluateOnExit", [{"onReason": "*", "action": "EXIT"}] * 6), "at most 5 rules"),
        (_set("definition/retryStrategy/evaluateOnExit", [{"onReason": "A", "action": "RETRY"}]), "the last rule"),
        (_set("definition/nodeProperties/nodeRangeProperties/1/instanceTypes", ["g5.xlarge"]), "same single instance"),
        (_set("definition/nodeProperties/nodeRangeProperties/1/targetNodes", "1:1"), "an open range, like 1:"),
    ],
)
def test_limits_that_no_client_knows_are_known_here(change: Callable[[Requests], None], law: str) -> None:
    found = asked(*MULTINODE)
    check_limits(found)
    change(found)
    with pytest.raises(BadInput, match=law):
        check_limits(found)


CPU, GPU = Machine("c7i.xlarge", 4, 8192, 0), Machine("g6.xlarge", 4, 16_384, 1)


def environment(kind: str = "SPOT", most: int = 64, **given: Any) -> dict[str, Any]:
    resources = {"type": kind, "maxvCpus": most, "desiredvCpus": 0, "instanceTypes": ["g6.xlarge", "c7i.xlarge"]}
    return {
        "computeEnvironmentName": "env",
        "type": "MANAGED",
        "state": "ENABLED",
        "status": "VALID",
        "computeResources": resources,
        **given,
    }


@pytest.mark.parametrize(
    ("more", "found", "machines", "why"),
    [
        ((), environment(), [CPU, GPU], ""),
        (("options.gpus=1",), environment(), [CPU, GPU], ""),
        (("options.gpus=1",), environment(), None, ""),
        (("options.gpus=1",), environment(), [CPU], "1 GPUs are asked for, and its types have none: g6.xlarge, c7i"),
        (("options.vcpus=8",), environment(), [CPU, GPU], "none of its types holds 8 vCPUs, 14000 MiB and 0 GPUs: the"),
        (("options.memory_mib=16384",), environment(), [GPU], "its system needs some of the memory"),
        ((), environment(most=2), [GPU], "it grows to 2 vCPUs, and 4 are asked for"),
        ((), environment(state="DISABLED"), [GPU], "it is DISABLED and VALID"),
        ((), environment(status="INVALID", statusReason="no role"), [GPU], "it is ENABLED and INVALID: no role"),
        ((), environment("FARGATE"), [GPU], "neither GPUs nor the shared memory"),
        (MULTINODE, environment(), [GPU], "it is SPOT, and multi-node jobs run on managed on-demand machines only"),
        (MULTINODE, environment("EC2"), [GPU], ""),
        (MULTINODE, environment("EC2", 11), [GPU], "it grows to 11 vCPUs, and 12 are asked for"),
        (MULTINODE, environment("EC2"), [CPU], "it has no g6.xlarge"),
    ],
)
def test_it_is_told_why_machines_cannot_hold_a_container(
    more: tuple[str, ...], found: dict[str, Any], machines: list[Machine] | None, why: str
) -> None:
    reasons = "; ".join(misfits(options(BatchOptions, submission(*more).profile), found, machines))
    assert why in reasons
    assert bool(reasons) == bool(why)


def test_it_is_told_why_a_container_that_fits_waits() -> None:
    chosen = options(BatchOptions, submission().profile)
    full = environment()
    full["computeResources"]["desiredvCpus"] = 62
    assert list(waiting(chosen, [full])) == ["env is full: 62 of 64 vCPUs; it waits for others to end"]
    (reason,) = waiting(chosen, [environment()])
    assert "env has 0 of 64 vCPUs and is asked for more" in reason


def test_the_preview_is_json_of_the_calls_in_their_order() -> None:
    calls = json.loads(target(submission(), {}).preview())
    assert [next(iter(call)) for call in calls] == ["RegisterJobDefinition"] * 2 + ["SubmitJob"] * 2
