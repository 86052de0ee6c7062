"""What is said of jobs that AWS Batch has: states, reasons, logs and cost."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from batch_stack import REGION, WORLD, submission
from clusters.aws import clients as aws
from clusters.aws_batch import target as aws_batch
from clusters.aws_batch.cost import Price, cost_lines, hours
from clusters.submission import target
from orchestrator.engine.heartbeat import Beat
from orchestrator.errors import BadInput, ClusterFailed
from orchestrator.ledger.records import now

SENT = {"work": "w", "report": "r"}


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Stubber]]:
    """Clients that expect exactly what they are told, and answer what AWS would, checked against its model."""
    made = {
        name: Stubber(boto3.client(name, REGION, aws_access_key_id="x", aws_secret_access_key="x"))
        for name in ("batch", "logs", "ec2")
    }
    monkeypatch.setattr(aws.boto3.Session, "client", lambda _, service, **__: made[service].client)
    for stub in made.values():
        stub.activate()
    yield made
    for stub in made.values():
        stub.assert_no_pending_responses()


def job(name: str, status: str, **more: Any) -> dict[str, Any]:
    return {
        "jobId": name,
        "jobName": "n",
        "jobQueue": "spot",
        "jobDefinition": "d",
        "status": status,
        "startedAt": 0,
        **more,
    }


def array(status: str, **counts: int) -> dict[str, Any]:
    return job("w", status, arrayProperties={"size": sum(counts.values()), "statusSummary": counts})


def answer(stubs: dict[str, Stubber], parents: list[dict[str, Any]], children: list[dict[str, Any]]) -> None:
    """What Batch is asked for a state, and answers."""
    batch = stubs["batch"]
    batch.add_response("describe_jobs", {"jobs": parents}, {"jobs": ["w", "r"]})
    for status in parents[0]["arrayProperties"]["statusSummary"]:
        found = [{"jobId": each["jobId"], "jobName": "n"} for each in children if each["status"] == status]
        batch.add_response("list_jobs", {"jobSummaryList": found}, {"arrayJobId": "w", "jobStatus": status})
    batch.add_response("describe_jobs", {"jobs": children}, {"jobs": [each["jobId"] for each in children]})


def queue(stubs: dict[str, Stubber], **resources: Any) -> None:
    order = [{"order": 1, "computeEnvironment": "env"}]
    found = {"jobQueueName": "spot", "jobQueueArn": "a", "state": "ENABLED", "status": "VALID", "priority": 1}
    environment = {
        "computeEnvironmentName": "env",
        "computeEnvironmentArn": "a",
        "type": "MANAGED",
        "state": "ENABLED",
        "status": "VALID",
        "computeResources": {"type": "SPOT", "subnets": [], "instanceTypes": ["g6.xlarge"], **resources},
    }
    batch = stubs["batch"]
    batch.add_response(
        "describe_job_queues", {"jobQueues": [{**found, "computeEnvironmentOrder": order}]}, {"jobQueues": ["spot"]}
    )
    batch.add_response(
        "describe_compute_environments", {"computeEnvironments": [environment]}, {"computeEnvironments": ["env"]}
    )


def instance_types(stubs: dict[str, Stubber], vcpus: int) -> None:
    known = {"InstanceType": "g6.xlarge", "VCpuInfo": {"DefaultVCpus": vcpus}, "MemoryInfo": {"SizeInMiB": 16_384}}
    asked = {"Filters": [{"Name": "instance-type", "Values": ["g6.xlarge"]}]}
    stubs["ec2"].add_response("describe_instance_types", {"InstanceTypes": [known]}, asked)


def test_reasons_of_failed_shards_and_new_attempts_are_told_in_words(stubs: dict[str, Stubber]) -> None:
    gone = {"statusReason": "Host EC2 (instance i-1) terminated.", "container": {"exitCode": 137}}
    answer(
        stubs,
        [array("PENDING", STARTING=1, FAILED=2), job("r", "PENDING")],
        [
            job("w:0", "FAILED", container={"exitCode": 2}, statusReason="Essential container in task exited"),
            job("w:1", "FAILED", container={"exitCode": 2}, statusReason="Essential container in task exited"),
            job("w:2", "STARTING", attempts=[gone]),
        ],
    )
    state = target(submission(WORLD), SENT).state()
    assert state.word == "running"
    assert state.lines == (
        "job w: 2 failed, 1 starting",
        "failed: shard 0, shard 1: Essential container in task exited; exit code 2 (bad input; its log says what)",
        "started again: shard 2 is in attempt 2: Host EC2 (instance i-1) terminated.; exit code 137 (killed: out of "
        "memory, or its machine went before it could save)",
        "report: pending",
    )


def test_a_report_that_waited_for_a_failed_shard_says_how_to_go_on(stubs: dict[str, Stubber]) -> None:
    answer(
        stubs,
        [array("FAILED", FAILED=1), job("r", "FAILED", statusReason="Dependent Job failed")],
        [job("w:0", "FAILED", container={"exitCode": 4}, statusReason="exited")],
    )
    state = target(submission(WORLD), SENT).state()
    assert state.word == "failed"
    assert "submit again for what is missing" in state.lines[-1]
    assert "exit code 4 (the storage failed)" in state.lines[1]


@pytest.mark.parametrize(
    ("vcpus", "resources", "why"),
    [
        (4, {"maxvCpus": 64, "desiredvCpus": 64}, "waits: env is full: 64 of 64 vCPUs; it waits for others to end"),
        (4, {"maxvCpus": 64, "desiredvCpus": 0}, "waits: env has 0 of 64 vCPUs and is asked for more: a machine"),
        (2, {"maxvCpus": 64, "desiredvCpus": 0}, "waits: env: none of its types holds 4 vCPUs, 14000 MiB and 0 GPUs"),
    ],
)
def test_it_is_told_why_a_shard_is_runnable_and_does_not_run(
    stubs: dict[str, Stubber], vcpus: int, resources: dict[str, int], why: str
) -> None:
    said = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - too large"
    answer(
        stubs,
        [array("PENDING", RUNNABLE=1), job("r", "PENDING")],
        [job("w:0", "RUNNABLE", statusReason=said)],
    )
    queue(stubs, **resources)
    instance_types(stubs, vcpus)
    state = target(submission(WORLD), SENT).state()
    assert state.word == "waiting"
    assert f"waits: shard 0: {said}" in state.lines
    assert any(line.startswith(why) for line in state.lines)


def test_jobs_that_batch_has_forgotten_are_over(stubs: dict[str, Stubber]) -> None:
    stubs["batch"].add_response("describe_jobs", {"jobs": []}, {"jobs": ["w", "r"]})
    assert target(submission(WORLD), SENT).state().word == "ended"


def test_cancel_terminates_the_shards_and_the_report(stubs: dict[str, Stubber]) -> None:
    parents = [array("PENDING", RUNNING=1), job("r", "PENDING")]
    stubs["batch"].add_response("describe_jobs", {"jobs": parents}, {"jobs": ["r", "w"]})
    for name in ("r", "w"):
        stubs["batch"].add_response("terminate_job", {}, {"jobId": name, "reason": "tailsweep cancel"})
    target(submission(WORLD), SENT).cancel()


def test_logs_are_read_to_their_end_by_tokens_of_all_attempts(stubs: dict[str, Stubber]) -> None:
    first, last = {"logStreamName": "d/default/1"}, {"logStreamName": "d/default/2"}
    plain = job("w", "RUNNING", container=last, attempts=[{"container": first}])
    for name, found in (("w", [plain]), ("r", [job("r", "PENDING")])):
        stubs["batch"].add_response("describe_jobs", {"jobs": found}, {"jobs": [name]})

    def events(stream: str, token: str | None, messages: list[str], following: str) -> None:
        asked = {"logGroupName": "/tailsweep", "logStreamName": stream, "startFromHead": True}
        said = {"events": [{"message": message} for message in messages], "nextForwardToken": following}
        stubs["logs"].add_response("get_log_events", said, {**asked, **({"nextToken": token} if token else {})})

    events("d/default/1", None, ["one", "two"], "a")
    events("d/default/1", "a", [], "a")
    stubs["logs"].add_client_error("get_log_events", "ResourceNotFoundException", http_status_code=400)
    lines = list(target(submission(WORLD, "shards=1"), SENT).logs(follow=False))
    assert lines == ["shard 0: one", "shard 0: two"]


def test_nodes_of_one_ray_have_states_and_logs_of_their_own(stubs: dict[str, Stubber]) -> None:
    ranges: dict[str, Any] = {"numNodes": 2, "mainNode": 0, "nodeRangeProperties": []}
    nodes = [job("w#0", "STARTING"), job("w#1", "STARTING")]
    parents = [job("w", "STARTING", nodeProperties=ranges), job("r", "PENDING")]
    stubs["batch"].add_response("describe_jobs", {"jobs": parents}, {"jobs": ["w", "r"]})
    stubs["batch"].add_response("describe_jobs", {"jobs": nodes}, {"jobs": ["w#0", "w#1"]})
    more = (
        "options.multinode=true",
        "options.instance_type=g6.xlarge",
        "shards=1",
        "environment.RAY_AUTH_MODE=disabled",
    )
    state = target(submission(WORLD, *more), SENT).state()
    assert (state.word, state.lines[0]) == ("running", "job w: 2 starting")


@pytest.mark.parametrize(
    ("code", "status", "error", "said"),
    [
        ("AccessDeniedException", 403, BadInput, "AWS refuses: DescribeJobs: AccessDeniedException: not you"),
        ("ServerException", 500, ClusterFailed, "AWS does not answer: DescribeJobs: ServerException"),
        ("TooManyRequestsException", 429, ClusterFailed, "AWS does not answer"),
    ],
)
def test_a_refusal_is_bad_input_and_silence_a_failure(
    stubs: dict[str, Stubber], code: str, status: int, error: type[Exception], said: str
) -> None:
    stubs["batch"].add_client_error("describe_jobs", code, "not you", http_status_code=status)
    with pytest.raises(error, match=said):
        target(submission(WORLD), SENT).state()


HOUR = 3_600_000


def test_cost_counts_every_attempt() -> None:
    again = job("a", "RUNNING", startedAt=3 * HOUR, attempts=[{"startedAt": 0, "stoppedAt": HOUR}])
    ended = job("b", "SUCCEEDED", attempts=[{"startedAt": HOUR, "stoppedAt": 2 * HOUR}])
    assert hours([again, ended, job("c", "RUNNABLE")], 5 * HOUR) == 1 + 2 + 1


def test_what_is_expected_is_extrapolated_from_the_heartbeats_or_not_told() -> None:
    price = Price(0.5, 0.5, "options.price_per_hour")
    beat = Beat(shard=0, shards=1, done=25, failed=0, running=1, total=100, ended=False, host="h", at=now())
    assert cost_lines(3.0, price, [beat], 1) == [
        "cost so far: $1.50 for 3.0 container-hours at options.price_per_hour, one machine per container",
        "cost expected: $6.00 in all, if the other 75% of trials take as long",
    ]
    assert "unknown" in cost_lines(3.0, price, [beat], 2)[1]
    assert len(cost_lines(3.0, price, [], 1)) == 1
    assert "options.price_per_hour turns them into money" in cost_lines(3.0, None, [beat], 1)[0]


def test_spot_prices_are_asked_for_where_the_types_are_named(stubs: dict[str, Stubber]) -> None:
    answer(
        stubs,
        [array("PENDING", SUCCEEDED=1), job("r", "PENDING")],
        [job("w:0", "SUCCEEDED", attempts=[{"startedAt": 0, "stoppedAt": 2 * HOUR}])],
    )
    queue(stubs, maxvCpus=64)
    history = [{"InstanceType": "g6.xlarge", "SpotPrice": price} for price in ("0.30", "0.40")]
    stubs["ec2"].add_response("describe_spot_price_history", {"SpotPriceHistory": history})
    chosen = aws_batch.AwsBatch(submission(WORLD), SENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aws_batch, "open_store", lambda uri: None)
        patch.setattr(aws_batch, "beats", lambda store, study: [])
        lines = chosen.state().lines
    assert lines[-1].startswith(
        "cost so far: $0.60 to $0.80 for 2.0 container-hours at today's spot price of g6.xlarge"
    )
