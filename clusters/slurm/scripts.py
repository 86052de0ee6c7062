"""The batch scripts of a submission to Slurm: pure text.

USR1 announces a time limit, TERM a cancelled or preempted job. Either way only the driver gets a signal: its Ray must
live until the checkpoints are written.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, field_validator

from clusters.profile import CONTROL, RAY_CHARS, SOCKET_CHARS, OneLine
from clusters.submission import Options, Submission
from orchestrator.errors import BadInput, shown

JOIN_S: Final = 300
"""How long a driver waits for nodes to join, before it works with those that came."""

PORT: Final = "$((20000 + SLURM_JOB_ID % 10000))"
"""Below the ports that systems give out, above those of Ray's workers."""


class SlurmOptions(Options):
    """Options of the target `slurm`. None leaves a value to the cluster's default."""

    partition: OneLine | None = None
    account: OneLine | None = None
    qos: OneLine | None = None
    time: OneLine | None = None
    gres: OneLine | None = None
    mem: OneLine | int | None = None
    cpus_per_task: Annotated[int, Field(ge=1)] = 4
    nodes: Annotated[int, Field(ge=1)] = 1
    at_once: Annotated[int, Field(ge=1)] | None = None
    head_and_workers: bool = False
    sbatch: tuple[OneLine, ...] = ()
    setup: tuple[str, ...] = ()
    python: OneLine | None = None
    folder: OneLine | None = None
    grace_s: Annotated[int, Field(ge=30)] = 120
    requeues: Annotated[int, Field(ge=0)] = 100
    report_time: OneLine = "00:30:00"

    @field_validator("time", "report_time", mode="before")
    @classmethod
    def _written(cls, value: object) -> object:
        if isinstance(value, int):
            raise ValueError(f"a time is MINUTES or HOURS:MINUTES:SECONDS, minutes in quotes: got {value}")
        return value


def shards(submission: Submission, chosen: SlurmOptions, folder: Path) -> str:
    """The script of an array task: one shard with its own Ray on one node."""
    at_once = "" if chosen.at_once is None else f"%{chosen.at_once}"
    head = _directives(
        submission.name,
        chosen,
        folder,
        array=f"0-{submission.shards - 1}{at_once}",
        output=str(folder / "shard-%a.log"),
        nodes="1",
        **_own(chosen),
    )
    share = ["--cluster-set", f"start.num_cpus={chosen.cpus_per_task}", *submission.start]
    driver = _command(chosen, [*submission.driver("$SLURM_ARRAY_TASK_ID"), *share])
    return "\n".join(
        (
            *head,
            f"part={_quoted(folder)}/shard-$SLURM_ARRAY_TASK_ID",
            "job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID",
            *_prepare(submission, chosen),
            *_scratch(),
            *_supervised(driver, chosen),
        )
    )


def cluster(submission: Submission, chosen: SlurmOptions, folder: Path) -> str:
    """The script of one job over several nodes: Ray's head and the driver on the first, workers on the others."""
    head = _directives(
        submission.name, chosen, folder, output=str(folder / "shard-0.log"), nodes=str(chosen.nodes), **_own(chosen)
    )
    ray = shlex.join([_interpreter(chosen), "-P", "-m", "ray.scripts.scripts", "start", "--log-color=false"])
    ports = "--min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0"
    size = f"--num-cpus={chosen.cpus_per_task} --block"
    rest = chosen.nodes - 1
    workers = (
        f'srun --nodes={rest} --ntasks={rest} --cpus-per-task={chosen.cpus_per_task} --exclude="$SLURMD_NODENAME" \\',
        f'  bash -c {shlex.quote(_worker(ray, ports, size))} _ "$address" &',
        "workers=$!",
    )
    wait = shlex.join([_interpreter(chosen), "-P", "-m", "clusters.shared.wait_for_nodes"])
    driver = _command(chosen, [*submission.driver(0), *submission.start]) + ' --address "$address"'
    return "\n".join(
        (
            *head,
            f"part={_quoted(folder)}/shard-0",
            "job=$SLURM_JOB_ID",
            *_prepare(submission, chosen),
            *_scratch(f"{_quoted(folder)}/token-$SLURM_JOB_ID"),
            'ip=$(hostname -I | cut -d" " -f1)',
            f"port={PORT}",
            "address=$ip:$port",
            "workers=",
            "ray=",
            "stop() {",
            '  [ -z "$workers" ] || { kill -TERM "$workers" && wait "$workers"; } 2>/dev/null',
            '  [ -z "$ray" ] || { kill -TERM "$ray" && wait "$ray"; } 2>/dev/null',
            '  rm -f "$RAY_AUTH_TOKEN_PATH"',
            "}",
            f'{ray} --head --node-ip-address="$ip" --port="$port" --include-dashboard=false \\',
            f"  {ports} {size} &",
            "ray=$!",
            *(workers if rest else ()),
            f'{wait} "$address" {chosen.nodes} {JOIN_S} || {{ stop; echo 3 >"$part.code"; exit 3; }}',
            *_supervised(driver, chosen, "stop"),
        )
    )


def report(submission: Submission, chosen: SlurmOptions, folder: Path) -> str:
    """The script that makes the tables, once all drivers have ended."""
    head = _directives(
        f"{submission.name}-report",
        chosen,
        folder,
        output=str(folder / "report.log"),
        nodes="1",
        time=chosen.report_time,
        mem=_text(chosen.mem),
    )
    return "\n".join(
        (
            *head,
            f"part={_quoted(folder)}/report",
            *_prepare(submission, chosen),
            _command(chosen, submission.reporter),
            "code=$?",
            'echo "$code" >"$part.code"',
            'exit "$code"',
            "",
        )
    )


def _own(chosen: SlurmOptions) -> dict[str, str | None]:
    """Directives of what trains."""
    return {
        "time": chosen.time,
        "gres": chosen.gres,
        "mem": _text(chosen.mem),
        "cpus_per_task": str(chosen.cpus_per_task),
        "signal": f"B:USR1@{chosen.grace_s}",
    }


def _directives(name: str, chosen: SlurmOptions, folder: Path, **given: str | None) -> list[str]:
    common = {
        "job_name": name,
        "chdir": str(Path.cwd()),
        "ntasks_per_node": "1",
        "open_mode": "append",
        "partition": chosen.partition,
        "account": chosen.account,
        "qos": chosen.qos,
    }
    values = {**common, **given}
    for key, value in values.items():
        if value is not None and CONTROL.search(value):
            raise BadInput(
                f"--{key.replace('_', '-')} must hold no line ends and control characters: got {shown(value)}"
            )
    lines = [
        f"#SBATCH --{key.replace('_', '-')}={shlex.quote(value)}" for key, value in values.items() if value is not None
    ]
    return ["#!/bin/bash", *lines, "#SBATCH --requeue", *(f"#SBATCH {line}" for line in chosen.sbatch), ""]


def _prepare(submission: Submission, chosen: SlurmOptions) -> list[str]:
    """The user's lines, the environment, and secrets from where they are kept."""
    lines = ['rm -f "$part.code"', *chosen.setup, "export PYTHONSAFEPATH=1"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in submission.profile.environment.items()]
    for name, reference in submission.profile.secrets.items():
        kind, _, where = reference.partition(":")
        lines += SECRETS[kind](name, where)
    return lines


def _from_environment(name: str, where: str) -> list[str]:
    return [f': "${{{where}:?must be set for {name} where the study is submitted}}"', f'export {name}="${where}"']


def _from_file(name: str, where: str) -> list[str]:
    path = shlex.quote(where)
    message = shlex.quote(f"{where} must be a file that only you can read (chmod 600), with the value of {name}")
    return [
        f'case "$(stat -Lc %a {path})" in 400 | 600) ;; *) echo {message} >&2 && exit 2 ;; esac',
        f"{name}=$(cat {path}) || exit 2",
        f"export {name}",
    ]


SECRETS: Final = {"env": _from_environment, "file": _from_file}
"""Kinds of references: `env:VARIABLE` of the shell that submits, `file:/path` that only the user can read."""


def _scratch(token: str | None = None) -> list[str]:
    """A folder and a token for the Ray of this job alone: other users of the node cannot reach it."""
    return [
        "base=${SLURM_TMPDIR:-/tmp}/ts-$SLURM_JOB_ID",
        f'[ "${{#base}}" -le {SOCKET_CHARS - RAY_CHARS - len("-XXXX")} ] || base=/tmp/ts-$SLURM_JOB_ID',
        'scratch=$(mktemp -d "$base-XXXX") || exit 4',
        "trap 'rm -rf \"$scratch\"' EXIT",
        'export RAY_TMPDIR="$scratch" RAY_AUTH_MODE=token',
        f"export RAY_AUTH_TOKEN_PATH={token or '$scratch/token'}",
        "(umask 077 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n' >\"$RAY_AUTH_TOKEN_PATH\")",
    ]


def _worker(ray: str, ports: str, size: str) -> str:
    """What srun runs on a worker's node: the head may come later, and the folder is that node's own."""
    return "\n".join(
        (
            'scratch=$(mktemp -d "/tmp/ts-$SLURM_JOB_ID-XXXX") || exit 4',
            'export RAY_TMPDIR="$scratch"',
            'trap \'kill -TERM "$ray" 2>/dev/null; wait "$ray"; rm -rf "$scratch"; exit 0\' TERM',
            "for _ in 1 2 3 4 5 6 7 8 9 10; do",
            f'  {ray} --address="$1" {ports} {size} &',
            '  ray=$!; wait "$ray"; sleep 3',
            "done",
            'rm -rf "$scratch"',
        )
    )


def _supervised(command: str, chosen: SlurmOptions, *after: str) -> list[str]:
    """Run a driver and what comes after it; pass TERM on, and at the time limit put the job into the queue again."""
    return [
        "told=",
        "driver=",
        'tell() { told=$1 && [ -z "$driver" ] || kill -TERM "$driver" 2>/dev/null; }',
        "trap 'tell limit' USR1",
        "trap 'tell stop' TERM",
        f"{command} &",
        "driver=$!",
        '[ -z "$told" ] || kill -TERM "$driver"',
        'wait "$driver"',
        "# a signal ends wait, not the driver",
        'while kill -0 "$driver" 2>/dev/null; do wait "$driver"; done',
        'wait "$driver"',
        "code=$?",
        *after,
        'if [ "$told" = limit ] && [ "$code" = 143 ]; then',
        f'  if [ "${{SLURM_RESTART_COUNT:-0}}" -ge {chosen.requeues} ]; then',
        f'    echo "the time limit came after {chosen.requeues} requeues; submit it again to go on"',
        "  else",
        '    echo "the time limit came; trials are saved, and the job goes back into the queue"',
        '    rm -rf "$scratch"  # requeueing ends this script, and what it starts',
        '    scontrol requeue "$job" && exit 0',
        "  fi",
        "fi",
        'echo "$code" >"$part.code"',
        'exit "$code"',
        "",
    ]


def _interpreter(chosen: SlurmOptions) -> str:
    return chosen.python or sys.executable


def _command(chosen: SlurmOptions, words: Sequence[str]) -> str:
    """A command of tailsweep for the shell, which need not find it."""
    return shlex.join([_interpreter(chosen), "-P", "-m", "orchestrator.cli", *words[1:]])


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
