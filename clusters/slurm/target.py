"""Slurm: an array of drivers, or one driver on a Ray over several nodes, and a report when they have ended."""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from clusters.shared.files import tail
from clusters.slurm.scripts import SECRETS, SlurmOptions, cluster, report, shards
from clusters.submission import State, Submission, options
from orchestrator.errors import REPORTED, BadInput, ClusterFailed

POLL_S: Final = 5.0
"""A controller serves many users: it is polled rarely."""
TIMEOUT_S: Final = 60.0
STOPPED: Final = "stopped"
FAILED: Final = {
    "BOOT_FAIL": "its node did not start",
    "CANCELLED": "it was cancelled",
    "DEADLINE": "its deadline passed",
    "FAILED": "its script failed",
    "LAUNCH_FAILED": "its node could not launch it",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "it used more memory than options.mem",
    "PREEMPTED": "another job took its place",
    "REVOKED": "a sibling cluster runs it",
    "TIMEOUT": "its time limit came before it was saved",
}
"""States that end a job badly. With COMPLETED, the only ones that end it: what is not known is alive."""
WAITING: Final = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
REASONS: Final = {
    "AssocGrpCpuLimit": "your account uses all CPUs that it may",
    "AssocGrpGRES": "your account uses all GPUs that it may",
    "AssocMaxJobsLimit": "your account may not run more jobs at once",
    "BadConstraints": "no node has what options ask for",
    "BeginTime": "a requeued job waits two minutes",
    "Dependency": "the shards come first",
    "JobArrayTaskLimit": "options.at_once shards run",
    "JobHeldAdmin": "an administrator holds it: ask them",
    "JobHeldUser": "it is held: scontrol release lets it go",
    "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority_partitions": "nodes are down",
    "PartitionDown": "the partition is down",
    "PartitionNodeLimit": "the partition has fewer nodes than options ask for",
    "PartitionTimeLimit": "options.time is more than the partition allows",
    "Priority": "jobs of higher priority come first",
    "QOSGrpCpuLimit": "the QOS uses all CPUs that it may",
    "QOSMaxGRESPerUser": "you use all GPUs that the QOS allows",
    "QOSMaxJobsPerUserLimit": "the QOS allows you no more jobs at once",
    "QOSMaxSubmitJobPerUserLimit": "the QOS allows you no more jobs in the queue",
    "ReqNodeNotAvail": "nodes are reserved or down, often for a maintenance that starts before options.time is over",
    "Reservation": "its reservation has not begun",
    "Resources": "all suitable nodes are busy",
}
"""Why a job waits, for people; others are told as Slurm writes them."""


class Slurm:
    """Jobs of a Slurm cluster whose commands are on this machine's PATH.

    Scripts, logs and exit codes are in a folder that all nodes see: the storage's, or `options.folder`.
    """

    def __init__(self, submission: Submission, sent: Mapping[str, Any]) -> None:
        profile = submission.profile
        self._submission, self._sent = submission, sent
        self._options = chosen = options(SlurmOptions, profile)
        if profile.address or profile.image:
            key, way = (
                ("address", "use options.head_and_workers") if profile.address else ("image", "use options.setup")
            )
            raise BadInput(f"profile {profile.name}: Slurm takes no {key}: got {getattr(profile, key)!r}; {way}")
        if chosen.head_and_workers and submission.shards > 1:
            raise BadInput(
                f"profile {profile.name}: one Ray over several nodes takes one driver: got shards={submission.shards}; "
                "leave shards out, or head_and_workers"
            )
        if chosen.nodes > 1 and not chosen.head_and_workers:
            raise BadInput(
                f"profile {profile.name}: a shard runs on one node: got nodes={chosen.nodes}; set shards, or "
                "options.head_and_workers=true"
            )
        for name, reference in profile.secrets.items():
            if reference.partition(":")[0] not in SECRETS:
                raise BadInput(
                    f"profile {profile.name}: a secret is env:VARIABLE or file:/path for Slurm: "
                    f"got {reference!r} for {name}"
                )
        local = "://" not in submission.storage
        root = Path(chosen.folder or (submission.storage if local else "results")).expanduser().resolve()
        self._folder = Path(sent.get("folder", root / submission.study.study / "drivers" / submission.name))

    def preview(self) -> str:
        """The scripts, each with the command that sends it."""
        written = []
        for name, text in self._scripts.items():
            after = ["--dependency=afterany:<drivers>"] if name == "report" else []
            written.append(f"# {' '.join(self._sbatch(name, after))}\n{text}")
        return "\n".join(written)

    def submit(self) -> dict[str, Any]:
        """Send what the queue does not hold: the drivers, then the report that depends on them."""
        self._check_secrets()
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / STOPPED).unlink(missing_ok=True)
        for name, text in self._scripts.items():
            (self._folder / f"{name}.sh").write_text(text, "utf-8")
        rows, name = self._queue(), self._submission.name
        there = {row["name"]: row["array"] for row in rows} if any(map(_live, rows)) else {}
        drivers = there.get(name) or self._send("drivers")
        reporter = there.get(f"{name}-report") or self._send("report", f"--dependency=afterany:{drivers}")
        return {"folder": str(self._folder), "drivers": drivers, "report": reporter}

    def state(self) -> State:
        """What the queue says; of jobs that have left it, their exit codes and what the accounting says."""
        rows = self._queue()
        live = [row for row in rows if _live(row)]
        lines = _grouped(rows)
        if live:
            return State("waiting" if all(row["state"] in WAITING for row in live) else "running", lines)
        codes = {path.stem: path.read_text("utf-8").strip() for path in sorted(self._folder.glob("*.code"))}
        ends = tuple(f"{part}: exit code {code}" for part, code in codes.items())
        if codes.get("report") in {str(code) for code in REPORTED}:
            return State("ended", ends)
        if (self._folder / STOPPED).exists():
            return State("stopped", ends)
        accounted = self._accounting()
        if any(map(_live, accounted)):
            return State("unknown", (*ends, *_grouped(accounted)))
        if any(row["part"] == "report" and row["state"] == "COMPLETED" for row in accounted):
            return State("ended", ends)
        return State("failed", (*ends, *_grouped(accounted or rows), f"see {self._folder}"))

    def logs(self, follow: bool) -> Iterator[str]:
        """Lines of all parts, by their names."""
        return tail(self._folder, lambda: self.state().live, follow, POLL_S)

    def cancel(self) -> None:
        """Remove waiting jobs from the queue, and signal running scripts, whose drivers save."""
        (self._folder / STOPPED).touch()
        jobs = [job for job in (self._sent.get("report"), self._sent.get("drivers")) if job]
        if not jobs:
            jobs = [row["array"] for row in self._queue()]
        for given in (["--state=PENDING"], ["--batch", "--signal=TERM"]):
            for job in jobs:
                done = _ask(["scancel", *given, job])
                if done.returncode and not re.search(r"[Ii]nvalid job id|already complet", done.stderr):
                    raise ClusterFailed(f"scancel {job}: {_said(done)}")

    @property
    def _scripts(self) -> dict[str, str]:
        drivers = cluster if self._options.head_and_workers else shards
        parts = {"drivers": drivers, "report": report}
        return {name: make(self._submission, self._options, self._folder) for name, make in parts.items()}

    def _sbatch(self, name: str, given: list[str]) -> list[str]:
        return ["sbatch", "--parsable", *given, str(self._folder / f"{name}.sh")]

    def _send(self, name: str, *given: str) -> str:
        """Number of the job that sbatch made."""
        done = _ask(self._sbatch(name, list(given)))
        number = re.match(r"\d+", done.stdout.strip())
        if done.returncode or number is None:
            way = f"look at the options of the profile {self._submission.profile.name}"
            raise BadInput(f"sbatch must accept the {name} of {self._submission.name}: {_said(done)}; {way}")
        return number[0]

    def _check_secrets(self) -> None:
        for name, reference in self._submission.profile.secrets.items():
            kind, _, where = reference.partition(":")
            if kind == "env" and not os.environ.get(where):
                raise BadInput(f"{where} must be set where the study is submitted: the secret {name} comes from it")
            if kind == "file" and (not Path(where).is_file() or Path(where).stat().st_mode & 0o077):
                raise BadInput(f"{where} must be a file that only you can read (chmod 600), with the value of {name}")

    def _queue(self) -> list[dict[str, str]]:
        """What the controller knows of this submission, a row per task; a while after its end it knows nothing."""
        name = self._submission.name
        names = f"--name={name},{name}-report"
        done = _ask(["squeue", "--me", "--noheader", "--array", "--states=all", names, "--format=%F|%j|%K|%T|%r"])
        if done.returncode:
            raise ClusterFailed(f"squeue must answer: {_said(done)}")
        keys = ("array", "name", "task", "state", "reason")
        rows = [dict(zip(keys, line.strip().split("|"), strict=True)) for line in done.stdout.splitlines() if line]
        return [{**row, "part": self._part(row["name"], row["task"])} for row in rows]

    def _accounting(self) -> list[dict[str, str]]:
        """What the accounting knows of the jobs: nothing where there is none."""
        jobs = ",".join(str(self._sent[part]) for part in ("drivers", "report") if part in self._sent)
        if not jobs:
            return []
        try:
            done = _ask(
                ["sacct", "-X", "--noheader", "--parsable2", f"--jobs={jobs}", "--format=JobID,JobName,State,ExitCode"]
            )
        except BadInput:
            return []
        rows = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 3]
        return [
            {
                "part": self._part(name, job.partition("_")[2]),
                "state": state.split()[0],  # "CANCELLED by 1000"
                "reason": f"exit code {code.partition(':')[0]}",
            }
            for job, name, state, code in rows
        ]

    def _part(self, name: str, task: str) -> str:
        return "report" if name.endswith("-report") else f"shard {task if task.isdigit() else 0}"


def _live(row: Mapping[str, str]) -> bool:
    """Whether a job may still do something: a state that is not known does not end it."""
    return row["state"] not in {*FAILED, "COMPLETED"}


def _grouped(rows: list[dict[str, str]]) -> tuple[str, ...]:
    """A line per state and reason: an array may have thousands of tasks."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        state, reason = row["state"], row["reason"]
        why = FAILED.get(state, REASONS.get(reason, "") if state in WAITING else "")
        told = "" if reason in {"None", ""} or state == "RUNNING" else reason
        note = ", ".join(text for text in (told, why) if text)
        groups.setdefault(f"{state.lower().replace('_', ' ')}{f' ({note})' if note else ''}", []).append(row["part"])
    return tuple(f"{_parts(parts)}: {text}" for text, parts in groups.items())


def _parts(parts: list[str]) -> str:
    """A few parts by name, many by number."""
    return ", ".join(parts) if len(parts) <= 4 else f"{len(parts)} shards"


def _ask(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of Slurm; raises BadInput when it is not there, ClusterFailed when the controller is not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise BadInput(f"{command[0]} must be on PATH: submit from a login node of the Slurm cluster") from None
    except subprocess.TimeoutExpired:
        raise ClusterFailed(f"{command[0]} did not answer in {TIMEOUT_S:g} s") from None
    if done.returncode and re.search(r"[Uu]nable to contact|timed out|Connection refused", done.stderr):
        raise ClusterFailed(f"{command[0]} must reach the controller: {_said(done)}")
    return done


def _said(done: subprocess.CompletedProcess[str]) -> str:
    text = " ".join((done.stderr or done.stdout).split())
    return re.sub(r"^\w+: (error: )?", "", text) or f"exit code {done.returncode}"


TARGET: Final = Slurm
