"""Limits of AWS Batch that its client does not know: a request over them is refused before anything is sent.

Batch user guide: "AWS Batch service quotas", "Array jobs", "Automated job retries", "Multi-node parallel jobs";
ECS API reference: RunTask, overrides.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from clusters.aws_batch.requests import Request, Requests
from orchestrator.errors import BadInput

ARRAY: Final = range(2, 10_001)
ATTEMPTS: Final = range(1, 11)
NODES: Final = range(2, 1_001)
RULES, NODE_GROUPS, TAGS = 5, 5, 50
TIMEOUT_S: Final = 60
DEFINITION_BYTES, JOB_BYTES, OVERRIDE_BYTES = 24 << 10, 30 << 10, 8192
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def check_limits(requests: Requests) -> None:
    """Raises BadInput for the first limit that a request breaks."""
    for definition in requests.definitions:
        for law, got in _of_definition(definition):
            raise BadInput(f"AWS Batch: {law}: got {got}")
    work_definition, _ = requests.definitions
    for law, got in (*_of_job(requests.work), *_of_nodes(requests.work, work_definition), *_of_job(requests.report)):
        raise BadInput(f"AWS Batch: {law}: got {got}")


def _of_definition(definition: Request) -> Iterator[tuple[str, Any]]:
    retry = definition["retryStrategy"]
    if retry["attempts"] not in ATTEMPTS:
        yield "attempts must be 1 to 10", retry["attempts"]
    rules = retry["evaluateOnExit"]
    if len(rules) > RULES:
        yield "at most 5 rules for retries", len(rules)
    if not rules or rules[-1] != {"onReason": "*", "action": "EXIT"}:
        yield "the last rule for retries must end whatever no other matches, or it is tried again", rules[-1:]
    if definition["timeout"]["attemptDurationSeconds"] < TIMEOUT_S:
        yield "timeout_s must be at least 60", definition["timeout"]["attemptDurationSeconds"]
    yield from _of_any(definition, definition["jobDefinitionName"], DEFINITION_BYTES)
    groups = definition.get("nodeProperties", {}).get("nodeRangeProperties", [])
    if len(groups) > NODE_GROUPS:
        yield "at most 5 groups of nodes", len(groups)
    types = {tuple(group["instanceTypes"]) for group in groups}
    if len(types) > 1 or any(len(names) != 1 for names in types):
        yield "all groups of nodes must have the same single instance type", sorted(types)


def _of_job(job: Request) -> Iterator[tuple[str, Any]]:
    size = job.get("arrayProperties", {}).get("size")
    if size is not None and size not in ARRAY:
        yield "an array has 2 to 10,000 shards", size
    yield from _of_any(job, job["jobName"], JOB_BYTES)
    nodes = job.get("nodeOverrides", {}).get("nodePropertyOverrides", [])
    for overrides in (job.get("containerOverrides", {}), *(node["containerOverrides"] for node in nodes)):
        if (length := _bytes(overrides)) > OVERRIDE_BYTES:
            yield "command and environment of a container must be at most 8192 bytes as JSON", length


def _of_nodes(job: Request, definition: Request) -> Iterator[tuple[str, Any]]:
    count = job.get("nodeOverrides", {}).get("numNodes")
    if count is None:
        return
    if count not in NODES:
        yield "a multi-node job has 2 to 1,000 nodes", count
    if "arrayProperties" in job:
        yield "a multi-node job cannot be an array", job["arrayProperties"]
    groups = definition.get("nodeProperties", {}).get("nodeRangeProperties", [])
    if not any(group["targetNodes"].endswith(":") for group in groups):
        yield (
            "a number of nodes is taken only by a definition with an open range, like 1:",
            [group["targetNodes"] for group in groups],
        )


def _of_any(request: Request, name: str, limit: int) -> Iterator[tuple[str, Any]]:
    if not NAME.fullmatch(name):
        yield "a name has 1 to 128 letters, digits, - and _", name
    if len(request["tags"]) > TAGS:
        yield "at most 50 tags", len(request["tags"])
    if (length := _bytes(request)) > limit:
        yield f"a request must be at most {limit} bytes; shorten environment", length


def _bytes(request: Request) -> int:
    return len(json.dumps(request).encode())
