"""AWS Batch: an array job of shards on spot machines, or a multi-node job under one Ray, and a job for the report.

A job that depends on an array runs only if every child succeeded. So shards end well when trials failed, which the
report tells; a shard that could not work at all (bad input, no storage, machines lost too often) fails the report too,
and submitting again trains what is missing and makes it.
"""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from clusters.aws.clients import Aws, Refused
from clusters.aws_batch.cost import Price, cost_lines, hours
from clusters.aws_batch.limits import check_limits
from clusters.aws_batch.machines import SPOT, Machine, misfits, waiting
from clusters.aws_batch.requests import BatchOptions, requests
from clusters.aws_batch.states import ENDED, Job, describe, word
from clusters.submission import State, Submission, options
from orchestrator.engine.heartbeat import beats
from orchestrator.errors import BadInput
from orchestrator.storage.store import open_store

POLL_S: Final = 10.0
AT_ONCE: Final = 100
"""Jobs that one call describes."""
ALL: Final = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


CHOSEN_BY_AWS: Final = ("optimal", "default")


class AwsBatch:
    """Jobs in a queue; `sent` holds the ids of the two."""

    def __init__(self, submission: Submission, sent: Mapping[str, Any]) -> None:
        self._submission, self._sent = submission, sent
        self._options = options(BatchOptions, submission.profile)
        self._requests = requests(submission, self._options)
        check_limits(self._requests)
        self._past: dict[str, Job] = {}
        self._aws = Aws(self._options.region, self._options.endpoint_url)

    def preview(self) -> str:
        """The calls, in their order; the report's job waits for the id of the job before it."""
        calls = [
            *({"RegisterJobDefinition": definition} for definition in self._requests.definitions),
            {"SubmitJob": self._requests.work},
            {"SubmitJob": self._requests.report_after("the id of the job above")},
        ]
        return json.dumps(calls, indent=1)

    def submit(self) -> dict[str, Any]:
        """Register what is not registered, and send what was not sent."""
        unchecked = self._preflight()
        for definition in self._requests.definitions:
            self._register(definition)
        work = self._send(self._requests.work)
        report = self._send(self._requests.report_after(work))
        return {"work": work, "report": report, **({"unchecked": unchecked} if unchecked else {})}

    def state(self) -> State:
        """Shards by state, with reasons, and the cost."""
        found = {job["jobId"]: job for job in self._described([self._sent["work"], self._sent["report"]])}
        if self._sent["work"] not in found:
            return State("ended", ("AWS Batch forgets jobs a week after their end: the ledger knows what they did",))
        work, report = found[self._sent["work"]], found.get(self._sent["report"])
        parts = self._parts(work)
        lines = [*describe(work, parts, report)]
        if any(part["status"] == "RUNNABLE" for part in parts.values()):
            lines += self._why_waiting()
        if unchecked := self._sent.get("unchecked"):
            lines.append(unchecked)
        ran = hours(list(parts.values()), int(time.time() * 1000))
        price = self._price() if ran else None
        if ran:
            heartbeats = beats(open_store(self._submission.storage), self._submission.study.study)
            lines += cost_lines(ran, price, heartbeats, self._submission.attempt)
        return State(word(work, parts, report), tuple(lines))

    def logs(self, follow: bool) -> Iterator[str]:
        """Lines from CloudWatch, of all attempts, by shard."""
        read: dict[str, str] = {}
        while True:
            live = follow and self.state().live  # before reading: what is said last is read too
            for part, stream in list(self._streams()):
                for line in self._lines(stream, read):
                    yield f"{part}: {line}"
            if not live:
                return
            time.sleep(POLL_S)

    def cancel(self) -> None:
        """SIGTERM to running jobs, and removal of waiting ones; Batch restarts neither."""
        for job in self._described([self._sent["report"], self._sent["work"]]):
            # cancel_job would leave running children of an array alone
            self._aws.call("batch", "terminate_job", jobId=job["jobId"], reason="tailsweep cancel")

    def _register(self, definition: Mapping[str, Any]) -> None:
        name = definition["jobDefinitionName"]  # it says the content
        asked = {"jobDefinitionName": name, "status": "ACTIVE"}
        if not any(self._aws.pages("batch", "describe_job_definitions", "jobDefinitions", **asked)):
            self._aws.call("batch", "register_job_definition", **definition)

    def _send(self, job: Mapping[str, Any]) -> str:
        named = [{"name": "JOB_NAME", "values": [job["jobName"]]}]
        for found in self._aws.pages("batch", "list_jobs", "jobSummaryList", jobQueue=job["jobQueue"], filters=named):
            there: str = found["jobId"]
            if not set(":#") & set(there):  # not a child of an array, nor a node
                return there
        sent: str = self._aws.call("batch", "submit_job", **job)["jobId"]
        return sent

    def _environments(self, name: str | None) -> list[dict[str, Any]]:
        """Compute environments of a queue; raises BadInput where the queue takes no jobs."""
        queues = list(self._aws.pages("batch", "describe_job_queues", "jobQueues", jobQueues=[name]))
        if not queues:
            raise BadInput(f"a queue must be one of this account and region: AWS Batch knows no {name!r}")
        (queue,) = queues
        if (queue["state"], queue["status"]) != ("ENABLED", "VALID"):
            raise BadInput(
                f"the queue {name} must be ENABLED and VALID: got {queue['state']} and {queue['status']}; "
                f"{queue.get('statusReason', 'enable it')}"
            )
        order = [entry["computeEnvironment"] for entry in queue["computeEnvironmentOrder"]]
        asked = {"computeEnvironments": order}
        return list(self._aws.pages("batch", "describe_compute_environments", "computeEnvironments", **asked))

    def _preflight(self) -> str | None:
        """Raises BadInput where jobs would wait for ever; returns what could not be checked."""
        environments = self._environments(self._options.queue)
        self._environments(self._options.report_queue or self._options.queue)
        reasons = []
        unchecked = None
        for environment in environments:
            try:
                machines = self._machines(environment)
            except Refused as err:
                machines, unchecked = None, f"instance types were not checked: {err}"
            found = list(misfits(self._options, environment, machines))
            if not found:
                return unchecked
            reasons += [f"{environment['computeEnvironmentName']}: {reason}" for reason in found]
        raise BadInput(f"no machine behind the queue {self._options.queue} can run it: {'; '.join(reasons)}")

    def _machines(self, environment: Mapping[str, Any]) -> list[Machine] | None:
        """Instance types of a compute environment; None where AWS chooses them."""
        names = environment.get("computeResources", {}).get("instanceTypes", [])
        if any(name.startswith(CHOSEN_BY_AWS) for name in names):
            return None
        patterns = [name if "." in name else f"{name}.*" for name in names]
        asked = {"Filters": [{"Name": "instance-type", "Values": patterns}]} if patterns else {}
        return [
            Machine.of(found) for found in self._aws.pages("ec2", "describe_instance_types", "InstanceTypes", **asked)
        ]

    def _described(self, ids: list[str]) -> list[Job]:
        """Jobs as Batch describes them; those that have ended are asked for once."""
        wanted = [job for job in ids if job not in self._past]
        found: dict[str, Job] = {}
        for start in range(0, len(wanted), AT_ONCE):
            answer = self._aws.call("batch", "describe_jobs", jobs=wanted[start : start + AT_ONCE])
            found.update({job["jobId"]: job for job in answer["jobs"]})
        self._past.update({name: job for name, job in found.items() if job["status"] in ENDED})
        known = {**self._past, **found}
        return [known[job] for job in ids if job in known]

    def _parts(self, work: Job) -> dict[str, Job]:
        """Jobs with a container of their own, by a name: children of an array, nodes, or the job itself."""
        if "nodeProperties" in work:
            ids = [f"{work['jobId']}#{index}" for index in range(work["nodeProperties"]["numNodes"])]
            nodes = {f"node {node['jobId'].rpartition('#')[2]}": node for node in self._described(ids)}
            return nodes or {"nodes": work}  # there are none before they start
        if "size" not in work.get("arrayProperties", {}):
            return {"shard 0": work}
        counts = work["arrayProperties"].get("statusSummary", {})
        ids = []
        for status in ALL:
            if counts.get(status, 0):
                asked = {"arrayJobId": work["jobId"], "jobStatus": status}
                ids += [found["jobId"] for found in self._aws.pages("batch", "list_jobs", "jobSummaryList", **asked)]
        children = self._described(sorted(set(ids), key=lambda name: int(name.rpartition(":")[2])))
        return {f"shard {child['jobId'].rpartition(':')[2]}": child for child in children} or {"shards": work}

    def _why_waiting(self) -> Iterator[str]:
        try:
            environments = self._environments(self._options.queue)
        except BadInput as err:
            yield f"waits: {err}"
            return
        for environment in environments:
            with contextlib.suppress(Refused):
                for reason in misfits(self._options, environment, self._machines(environment)):
                    yield f"waits: {environment['computeEnvironmentName']}: {reason}"
        usable = [env for env in environments if not list(misfits(self._options, env, None))]
        yield from (f"waits: {reason}" for reason in waiting(self._options, usable))

    def _price(self) -> Price | None:
        """The option, else today's spot prices of the queue's instance types, where they are named and may be asked."""
        if self._options.price_per_hour is not None:
            return Price(self._options.price_per_hour, self._options.price_per_hour, "options.price_per_hour")
        resources = [environment.get("computeResources", {}) for environment in self._environments(self._options.queue)]
        names = sorted({name for each in resources for name in each.get("instanceTypes", []) if "." in name})
        if not names or any(each.get("type") not in SPOT for each in resources):
            return None
        asked = {"InstanceTypes": names, "ProductDescriptions": ["Linux/UNIX"], "StartTime": time.time()}
        try:
            found = self._aws.pages("ec2", "describe_spot_price_history", "SpotPriceHistory", **asked)
            prices = [float(each["SpotPrice"]) for each in found]
        except Refused:
            return None  # reading prices needs a permission that may be missing
        return Price(min(prices), max(prices), f"today's spot price of {', '.join(names)}") if prices else None

    def _streams(self) -> Iterator[tuple[str, str]]:
        """Names of log streams, by part; the last attempt's is named twice."""
        for job in self._described([self._sent["work"]]):
            for part, child in self._parts(job).items():
                attempts = [attempt.get("container", {}) for attempt in child.get("attempts", ())]
                named = [each.get("logStreamName") for each in (*attempts, child.get("container", {}))]
                yield from ((part, stream) for stream in dict.fromkeys(named) if stream)
        for job in self._described([self._sent["report"]]):
            if stream := job.get("container", {}).get("logStreamName"):
                yield "report", stream

    def _lines(self, stream: str, read: dict[str, str]) -> Iterator[str]:
        """What a stream says that was not read before."""
        while True:
            token = {"nextToken": read[stream]} if stream in read else {}
            asked = {"logGroupName": self._options.log_group, "logStreamName": stream, "startFromHead": True, **token}
            try:
                answer = self._aws.call("logs", "get_log_events", **asked)
            except Refused as err:
                if err.code == "ResourceNotFoundException":
                    return  # it is made when the container says something
                raise
            yield from (event["message"] for event in answer["events"])
            if answer["nextForwardToken"] == read.get(stream):
                return
            read[stream] = answer["nextForwardToken"]


TARGET: Final = AwsBatch
