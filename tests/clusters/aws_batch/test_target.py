"""Sending to AWS Batch: on moto, behind the stack that users deploy."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from batch_stack import REGION, WORLD, deploy, submission
from clusters.submission import find, submit, target
from orchestrator.errors import BadInput
from orchestrator.storage.store import LocalStore


@pytest.fixture(scope="module")
def stack() -> Iterator[dict[str, str]]:
    """Outputs of the stack, deployed on moto; jobs there succeed at once. Every test has a study of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        with mock_aws(config={"batch": {"use_docker": False}}):
            yield deploy()


def jobs(stack: dict[str, str], study: str) -> list[dict[str, Any]]:
    named = [{"name": "JOB_NAME", "values": [f"tailsweep-{study}-*"]}]
    batch = boto3.client("batch", REGION)
    found: list[dict[str, Any]] = batch.list_jobs(jobQueue=stack["QueueSpot"], filters=named)["jobSummaryList"]
    return [job for job in found if ":" not in job["jobId"]]


def test_a_study_sent_twice_runs_once_even_when_the_ticket_was_lost(stack: dict[str, str], tmp_path: Path) -> None:
    sent = submission(stack, study="twice")
    first, new = submit(sent, LocalStore(tmp_path / "one"))
    assert new
    assert {job["jobName"] for job in jobs(stack, "twice")} == {sent.name, f"{sent.name}-report"}
    ids = {job["jobId"] for job in jobs(stack, "twice")}
    ticket = find(LocalStore(tmp_path / "one"), "twice", "aws-batch")
    assert ticket is not None
    assert set(ticket.sent.values()) == ids
    submit(sent, LocalStore(tmp_path / "two"))
    assert {job["jobId"] for job in jobs(stack, "twice")} == ids
    assert first.attempt == 1


def test_what_batch_has_is_what_the_preview_said(stack: dict[str, str]) -> None:
    chosen = target(submission(stack, study="shown"), {})
    ids = chosen.submit()
    calls = json.loads(chosen.preview())
    batch = boto3.client("batch", REGION)
    for definition in (call["RegisterJobDefinition"] for call in calls[:2]):
        (there,) = batch.describe_job_definitions(jobDefinitionName=definition["jobDefinitionName"])["jobDefinitions"]
        assert str(there["retryStrategy"]).lower() == str(definition["retryStrategy"]).lower()
        assert definition["containerProperties"].items() <= there["containerProperties"].items()
    work, report = batch.describe_jobs(jobs=[ids["work"], ids["report"]])["jobs"]
    for said, job in ((calls[2]["SubmitJob"], work), (calls[3]["SubmitJob"], report)):
        assert job["jobName"] == said["jobName"]
        assert job["container"]["command"] == said["containerOverrides"]["command"]
        assert job["tags"] == said["tags"]
    assert work["arrayProperties"]["size"] == 3
    assert report["dependsOn"] == [{"jobId": ids["work"]}]
    children = batch.list_jobs(arrayJobId=ids["work"], jobStatus="SUCCEEDED")["jobSummaryList"]
    assert [child["jobId"] for child in children] == [f"{ids['work']}:{index}" for index in range(3)]


def test_definitions_are_used_again_by_other_studies(stack: dict[str, str]) -> None:
    batch, known = boto3.client("batch", REGION), []
    for name in ("one", "two"):
        target(submission(stack, study=name), {}).submit()
        known.append([one["jobDefinitionArn"] for one in batch.describe_job_definitions()["jobDefinitions"]])
        assert len(jobs(stack, name)) == 2
    assert known[0] == known[1] != []


def test_an_ended_submission_says_so_and_the_next_one_is_a_new_attempt(stack: dict[str, str], tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    submit(submission(stack, "options.price_per_hour=0.5", study="again"), store)
    ticket = find(store, "again", "aws-batch")
    assert ticket is not None
    state = target(ticket.submission, ticket.sent).state()
    assert state.word == "ended"
    assert any("3 succeeded" in line for line in state.lines)
    again, new = submit(submission(stack, "options.price_per_hour=0.5", study="again"), store)
    assert (again.attempt, new) == (2, True)
    assert len(jobs(stack, "again")) == 4


@pytest.mark.parametrize(
    ("more", "law"),
    [
        (("options.queue=elsewhere",), "AWS Batch knows no 'elsewhere'"),
        (("options.vcpus=65",), "it grows to 64 vCPUs, and 65 are asked for"),
        (("options.gpus=2",), "none of its types holds 4 vCPUs, 14000 MiB and 2 GPUs"),
        (
            (
                "options.multinode=true",
                "options.instance_type=g5.xlarge",
                "shards=1",
                "environment.RAY_AUTH_MODE=disabled",
            ),
            "it is SPOT, and multi-node jobs run on managed on-demand machines only",
        ),
    ],
)
def test_a_queue_that_can_never_run_it_is_refused_and_nothing_is_sent(
    stack: dict[str, str], more: tuple[str, ...], law: str
) -> None:
    with pytest.raises(BadInput, match=law):
        target(submission(stack, *more, study="refused"), {}).submit()
    assert not jobs(stack, "refused")


def test_a_disabled_queue_is_refused(stack: dict[str, str]) -> None:
    batch = boto3.client("batch", REGION)
    batch.update_job_queue(jobQueue=stack["QueueSpot"], state="DISABLED")
    try:
        with pytest.raises(BadInput, match="must be ENABLED and VALID: got DISABLED"):
            target(submission(stack, study="refused"), {}).submit()
    finally:
        batch.update_job_queue(jobQueue=stack["QueueSpot"], state="ENABLED")


def test_multinode_jobs_are_taken_by_on_demand_machines(stack: dict[str, str]) -> None:
    more = (
        f"options.queue={stack['QueueOnDemand']}",
        "options.multinode=true",
        "options.instance_type=g4dn.xlarge",
        "shards=1",
        "environment.RAY_AUTH_MODE=disabled",
    )
    ids = target(submission(stack, *more), {}).submit()
    (job,) = boto3.client("batch", REGION).describe_jobs(jobs=[ids["work"]])["jobs"]
    assert job["jobName"].startswith("tailsweep-tiny-")


def test_without_credentials_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(BadInput, match="AWS needs credentials"):
        target(submission(WORLD), {}).submit()
