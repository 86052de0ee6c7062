"""What AWS Batch would run, really run: its commands as processes with its variables, and a real S3 server."""

import fnmatch
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from batch_stack import REGION, deploy
from clusters.aws_batch.requests import BatchOptions, requests
from clusters.profile import profile
from clusters.submission import Submission, options
from in_process import trained_here
from orchestrator.api import claim_name
from orchestrator.storage.store import open_store
from orchestrator.study.spec import Study
from running import HUNG_S, command, processes, results, slay, tailsweep, write
from s3_server import bucket, free_port

STUDY = """
study: tiny
workloads: [nhanes-sbp]
recipes: {also: [l1, l1 + lds, l1 + fds, l1 + ranksim]}
tune: {trials: 3, parallel: 2, rescore: 1}
evaluate: {seeds: 2}
train: {epochs: 2}
tracking: {enabled: false}
checkpoint_every_s: 0
"""
TRIALS = 4 * 5


def records(storage: str) -> list[str]:
    return [key for key in open_store(storage).keys("ledger/") if key.split("/")[1] in {"tune", "evaluate"}]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of the same study, run on one machine without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    return trained_here(write(folder, STUDY), folder / "results")


class Batch:
    """Starts containers as AWS Batch does: the command and environment of a job, and variables that say which it is."""

    def __init__(self, address: str, folder: Path) -> None:
        self.folder = folder
        self._client = boto3.client("batch", REGION, endpoint_url=address)

    def job(self, name: str) -> dict[str, Any]:
        queues = [queue["jobQueueName"] for queue in self._client.describe_job_queues()["jobQueues"]]
        asked = [{"name": "JOB_NAME", "values": [name]}]
        for queue in queues:
            for found in self._client.list_jobs(jobQueue=queue, filters=asked)["jobSummaryList"]:
                if ":" not in found["jobId"]:
                    job: dict[str, Any] = self._client.describe_jobs(jobs=[found["jobId"]])["jobs"][0]
                    return job
        raise AssertionError(f"no job {name}")

    def start(self, job: Mapping[str, Any], index: int | None, attempt: int) -> "subprocess.Popen[bytes]":
        program, *arguments = job["container"]["command"]
        assert program == "tailsweep"
        which = {} if index is None else {"AWS_BATCH_JOB_ARRAY_INDEX": str(index)}
        environment = {each["name"]: each["value"] for each in job["container"]["environment"]}
        with self.log(job, index, attempt).open("w") as log:
            return subprocess.Popen(
                command(*arguments),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **environment, **which, "AWS_BATCH_JOB_ATTEMPT": str(attempt)},
            )

    def log(self, job: Mapping[str, Any], index: int | None, attempt: int) -> Path:
        return self.folder / f"{job['jobName']}-{index}-{attempt}.log"

    def run(self, job: Mapping[str, Any], index: int | None, attempt: int) -> None:
        code = self.start(job, index, attempt).wait(timeout=HUNG_S)
        assert code == 0, self.log(job, index, attempt).read_text()

    def again(self, job: Mapping[str, Any], exit_code: int, status_reason: str, attempt: int) -> bool:
        """Whether the job's own rules start it again: the first that matches counts, and none means yes."""
        (definition,) = self._client.describe_job_definitions(jobDefinitions=[job["jobDefinition"]])["jobDefinitions"]
        strategy = definition["retryStrategy"]
        if attempt >= strategy["attempts"]:
            return False
        said = {"onExitCode": str(exit_code), "onStatusReason": status_reason, "onReason": ""}
        for rule in strategy["evaluateOnExit"]:
            if all(fnmatch.fnmatchcase(said[key], rule[key]) for key in rule if key != "action"):
                return bool(rule["action"].lower() == "retry")
        return True


@pytest.mark.long
def test_shards_that_are_preempted_and_killed_end_in_the_tables_of_one_machine(
    s3: str, whole: Path, tmp_path: Path
) -> None:
    stack = deploy(s3)
    storage = f"{stack['Storage'].partition('?')[0]}?endpoint_url={s3}"
    (tmp_path / "batch.yaml").write_text(
        f"""
extends: aws-batch
image: {stack["ImageRepository"]}@sha256:1
shards: 2
steal: false
options:
  queue: {stack["QueueSpot"]}
  job_role: {stack["JobRole"]}
  execution_role: {stack["ExecutionRole"]}
  log_group: {stack["LogGroup"]}
  region: {stack["Region"]}
  endpoint_url: {s3}
  vcpus: 1
  price_per_hour: 0.4
"""
    )
    submit = ("submit", write(tmp_path, STUDY), "--storage", storage, "--cluster", tmp_path / "batch.yaml")
    said = tailsweep(*submit)
    assert "4 cells in 2 shards, sent" in said
    name = said.partition(":")[0]
    batch = Batch(s3, tmp_path)
    job = batch.job(name)

    shards = [batch.start(job, index, 1) for index in range(2)]
    deadline = time.monotonic() + HUNG_S
    while len(records(storage)) < 3 and time.monotonic() < deadline:
        assert all(shard.poll() is None for shard in shards)
        time.sleep(0.05)
    shards[0].send_signal(signal.SIGTERM)
    shards[1].send_signal(signal.SIGKILL)
    codes = [shard.wait(timeout=60) for shard in shards]
    assert codes == [143, -signal.SIGKILL], batch.log(job, 0, 1).read_text()
    kept = records(storage)
    assert 3 <= len(kept) < TRIALS, "they were stopped in time"
    assert batch.again(job, 143, "Essential container in task exited", attempt=1)
    assert batch.again(job, 137, "Host EC2 (instance i-1) terminated.", attempt=4)
    assert not batch.again(job, 137, "Host EC2 (instance i-1) terminated.", attempt=5)
    assert not batch.again(job, 2, "Essential container in task exited", attempt=1)

    batch.run(job, 0, 2)
    half = records(storage)
    assert set(kept) < set(half)
    assert len(half) < TRIALS, "the other shard has work left"

    said = tailsweep(*submit)
    assert "sent" in said
    following = said.partition(":")[0]
    assert following == name.removesuffix("1") + "2", "submitting again is the retry of what Batch gave up"
    job = batch.job(following)
    for index in range(2):
        batch.run(job, index, 1)
    assert set(half) < set(records(storage))
    assert len(records(storage)) == TRIALS
    batch.run(batch.job(f"{following}-report"), None, 1)

    assert results(storage) == results(whole)
    for file in ("table.csv", "table.md"):
        assert open_store(storage).get(f"tiny/{file}") == (whole / "tiny" / file).read_bytes()
    said = tailsweep("status", "tiny", "--stored", *submit[2:])
    assert f"{following}: ended" in said
    assert "shard 1/2 on" in said


class Nodes:
    """Containers of a multi-node job: the script that is sent, with the variables that AWS Batch sets on each node."""

    def __init__(self, overrides: Mapping[str, Any], folder: Path) -> None:
        self._overrides, self.folder, self.port = overrides, folder, free_port()
        (folder / "bin").mkdir(exist_ok=True)
        program = folder / "bin" / "tailsweep"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m orchestrator.cli "$@"\n')
        program.chmod(0o755)
        self._started: list[subprocess.Popen[str]] = []

    def start(self, index: int) -> "subprocess.Popen[str]":
        override = self._overrides["nodePropertyOverrides"][min(index, 1)]["containerOverrides"]
        set_by_batch = {
            "AWS_BATCH_JOB_NODE_INDEX": str(index),
            "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0",
            "AWS_BATCH_JOB_NUM_NODES": str(self._overrides["numNodes"]),
            **({"AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS": "127.0.0.1"} if index else {}),
        }
        process = subprocess.Popen(
            override["command"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            start_new_session=True,
            env={
                **os.environ,
                **{each["name"]: each["value"] for each in override["environment"]},
                **set_by_batch,
                "HEAD_PORT": str(self.port),
                "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
                "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
                "RAY_TMPDIR": str(self.folder),
            },
        )
        self._started.append(process)
        return process

    def vanish(self) -> None:
        """As containers do, with all that they started."""
        port = str(self.port).encode()
        for pid in processes(b":" + port, b"port=" + port, b"port\x00" + port):
            slay(pid)
        for process in self._started:
            process.kill()
            process.communicate(timeout=60)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path: those of Ray's sockets are bounded."""
    with tempfile.TemporaryDirectory(prefix="nodes-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.long
def test_nodes_of_one_job_form_a_ray_that_is_stopped_and_goes_on(s3: str, whole: Path, short: Path) -> None:
    storage = bucket(s3)
    study = Study.read(STUDY, "tiny", [f"storage={storage}"])
    claim_name(study, open_store(storage))
    chosen = profile(
        "aws-batch",
        [
            "image=i",
            *(f"options.{name}=a" for name in ("queue", "job_role", "execution_role")),
            *("options.multinode=true", "options.instance_type=g6.xlarge", "options.vcpus=1", "shards=1"),
            *("secrets.RAY_AUTH_TOKEN=arn:aws:secretsmanager:eu-central-1:1:secret:ray", "steal=false"),
        ],
    )
    sent = requests(Submission(study, chosen, storage, cells=4), options(BatchOptions, chosen))
    for attempt, code in ((1, 143), (2, 0)):
        nodes = Nodes(sent.work["nodeOverrides"], short)
        try:
            worker, head = nodes.start(1), nodes.start(0)
            if attempt == 1:
                deadline = time.monotonic() + HUNG_S
                while not records(storage) and time.monotonic() < deadline and head.poll() is None:
                    time.sleep(0.05)
                head.send_signal(signal.SIGTERM)
            said = head.communicate(timeout=HUNG_S)[0]
            assert head.returncode == code, said
            assert "2 of 2 nodes joined the Ray cluster" in said
            assert worker.poll() is None, "it stays until Batch stops it"
        finally:
            nodes.vanish()
        assert (len(records(storage)) == TRIALS) == (attempt == 2)
    assert results(storage) == results(whole)
