"""What AWS Batch says of jobs, in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from clusters.submission import Word

Job = dict[str, Any]

ENDED: Final = frozenset({"SUCCEEDED", "FAILED"})
STARTED: Final = frozenset({"STARTING", "RUNNING"})
GROUPS: Final = 6
"""Reasons that are shown; the others are counted."""
CODES: Final = {
    2: "bad input; its log says what",
    3: "trials failed",
    4: "the storage failed",
    137: "killed: out of memory, or its machine went before it could save",
    143: "told to stop, and saved",
}


def word(work: Job, parts: Mapping[str, Job], report: Job | None) -> Word:
    """One word for a submission: its shards, then its report."""
    if work["status"] in ENDED:
        if report is None or report["status"] == "FAILED":
            return "failed"
        return "ended" if report["status"] == "SUCCEEDED" else "running"
    begun = any(part["status"] in STARTED | ENDED or part.get("attempts") for part in parts.values())
    return "running" if begun else "waiting"


def describe(work: Job, parts: Mapping[str, Job], report: Job | None) -> Iterator[str]:
    """The number of shards in each state, why some failed or were restarted, and the state of the report."""
    counts: dict[str, int] = {}
    for part in parts.values():
        counts[part["status"].lower()] = counts.get(part["status"].lower(), 0) + 1
    yield f"job {work['jobId']}: " + ", ".join(f"{count} {status}" for status, count in counts.items())
    failed = {name: reason(part) for name, part in parts.items() if part["status"] == "FAILED"}
    yield from _grouped("failed", failed)
    blocked = {
        name: part["statusReason"]
        for name, part in parts.items()
        if part["status"] in {"PENDING", "RUNNABLE"} and part.get("statusReason")
    }
    yield from _grouped("waits", blocked)
    again = {
        f"{name} is in attempt {len(part['attempts']) + 1}": reason(part["attempts"][-1])
        for name, part in parts.items()
        if part["status"] not in ENDED and part.get("attempts")
    }
    yield from _grouped("started again", again)
    if report is not None:
        why = f": {reason(report)}" if report["status"] == "FAILED" else ""
        yield f"report: {report['status'].lower()}{why}"
        if report["status"] == "FAILED" and report.get("container", {}).get("exitCode") is None:
            yield "the report was not made, as it waits for all shards to succeed; submit again for what is missing"


def reason(job: Mapping[str, Any]) -> str:
    """Why a job or one of its attempts ended: what Batch says, what the container's runtime says, its exit code."""
    container = job.get("container", {})
    code = container.get("exitCode")
    said = [job.get("statusReason"), container.get("reason")]
    if code is not None:
        said.append(f"exit code {code}{f' ({CODES[code]})' if code in CODES else ''}")
    return "; ".join(dict.fromkeys(text for text in said if text)) or "no reason given"


def _grouped(what: str, reasons: Mapping[str, str]) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for name, why in reasons.items():
        groups.setdefault(why, []).append(name)
    largest = sorted(groups.items(), key=lambda group: -len(group[1]))
    for why, names in largest[:GROUPS]:
        yield f"{what}: {_some(names)}: {why}"
    if len(largest) > GROUPS:
        yield f"{what}: {sum(len(names) for _, names in largest[GROUPS:])} more, for other reasons"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
