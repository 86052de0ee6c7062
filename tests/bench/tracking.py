"""What following a study in MLflow costs: `PYTHONPATH=.:tests python -m bench.tracking [--full]`.

Our projection (runs, settings, data sets and numbers) is compared with plain `log_batch` calls of the same numbers into
runs that are there: over REST, on PostgreSQL where this machine has it, and in a SQLite file as MLflow makes it. A
trial among many takes what one among few does. A sweep that is followed on a server that answers 200 ms late, and on
one that is away, is compared with one that is not followed; what is held is the tracker's share of a core while it
waits for trials, since two runs of a sweep differ by more. Seconds of the processor stand beside those of the clock,
which a busy machine stretches.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil
from mlflow import MlflowClient

from bench.engine import tiny
from builders import record, score, study
from clusters.mlflow import database
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import CurveRow, Record, now
from orchestrator.study.cells import Trial, expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from orchestrator.tracking._entities import metrics_of
from orchestrator.tracking.mlflow import BATCH, Projection
from s3_server import before, free_port

EPOCHS: Final = 30
REST_TRIALS, FILE_TRIALS, MANY, SWEPT, SWEPT_EPOCHS = 40, (60, 600), 10_000, 10, 400
LATE_S: Final = 0.2
ROUNDS: Final = 3
RATIO: Final = 2.5
"""The bound on the time of the projection against that of plain batches, which make no runs."""
GROWTH: Final = 1.5
"""The bound on the time of a trial among many against that of one among few."""
SHARE: Final = 0.01
"""The bound on the tracker's share of a core, once it has started."""
STARTED_S, WAITED_S = 35.0, 30.0
"""How long a tracker is given to start, and how long it is then watched."""
DRIVER: Final = """
import sys, time
from orchestrator.cli.main import main
code = main(sys.argv[1:])
print(time.process_time())
raise SystemExit(code)
"""
"""A command of ours that tells, as its last line, what it took of the processor."""
Line = tuple[str, str]


@dataclass(frozen=True)
class Took:
    """Seconds of the clock, and of the processor in this process."""

    wall: float
    cpu: float

    @classmethod
    def by(cls, work: Callable[[], object]) -> "Took":
        """What this work takes."""
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        return cls(time.perf_counter() - wall, time.process_time() - cpu)


@dataclass(frozen=True)
class Round:
    """Our projection and plain batches of the same numbers, and how many numbers these are."""

    ours: Took
    plain: Took
    numbers: int


@dataclass(frozen=True)
class Swept:
    """Seconds from the start of the first trial to the end of the last, from there to the end of the command, and of
    the processor in the driver."""

    training: float
    ending: float
    driver_cpu: float


def made_up(storage: str, trials: int) -> tuple[Study, Planner]:
    """A study whose trials have scores by region and curves of 30 epochs."""
    made = study(
        storage=storage,
        recipes={"also": ["l1"]},
        tune={"trials": trials, "sampler": "random"},
        train={"epochs": EPOCHS},
    )
    planner = Planner(made, expand(made)[:1], lambda trial_id, phase: None)
    for number in range(trials):
        trial = planner.next()
        assert trial is not None
        planner.finish(trial, _outcome(trial, 1.0 + number / trials))
    return made, planner


def _outcome(trial: Trial, value: float) -> Record:
    scores = tuple(
        replace(score(value, region), metric=metric)
        for metric in ("mae", "gm")
        for region in ("all", "many", "medium", "few", "zero")
    )
    curve = tuple(CurveRow(epoch, 0, value + epoch, scores) for epoch in range(EPOCHS))
    return record(trial, value, val=scores, curve=curve)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[tuple[str, str]]:
    """The address of an MLflow server, and what it keeps its runs in."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    with contextlib.ExitStack() as stack:
        if shutil.which("initdb"):
            folder.chmod(0o755)
            kind, where = (
                "PostgreSQL",
                {
                    **stack.enter_context(database.running(folder)),
                    "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2://",
                },
            )
        else:
            kind, where = "SQLite", {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder / 'mlflow.db'}"}
        where |= {"MLFLOW_ARTIFACTS_DESTINATION": str(folder), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        process = stack.enter_context(
            subprocess.Popen(command, env={**os.environ, **where}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        stack.callback(process.terminate)
        _wait(address)
        yield address, kind


def _wait(address: str) -> None:
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)


def compared(uri: str | None, trials: int) -> Round:
    """Both ways into the same server, or each into an SQLite file of its own."""
    with tempfile.TemporaryDirectory() as storage:
        made, planner = made_up(storage, trials)
        tracked = made.tracking.model_copy(update={"uri": uri})
        made = made.model_copy(update={"study": f"bench-{time.time_ns()}", "tracking": tracked})
        projection = Projection(made, Ledger(storage))
        client = MlflowClient(uri or f"sqlite:///{storage}/plain.db")
        experiment = client.create_experiment(f"plain-{made.study}")
        numbers = [list(metrics_of(one, 0)) for one in planner.plans[0].records("tune")]
        runs = [client.create_run(experiment).info.run_id for _ in numbers]
        plain = Took.by(lambda: _batches(client, runs, numbers))
        ours = Took.by(lambda: projection.update(planner.plans))
    return Round(ours, plain, sum(map(len, numbers)))


def _batches(client: Any, runs: Sequence[str], numbers: Sequence[list[Any]]) -> None:
    for run, metrics in zip(runs, numbers, strict=True):
        for start in range(0, len(metrics), BATCH):
            client.log_batch(run, metrics=metrics[start : start + BATCH])


def _told(where: str, trials: int, rounds: Sequence[Round]) -> tuple[list[Line], bool]:
    ours, plain, cpu = (
        median(values)
        for values in zip(*((one.ours.wall, one.plain.wall, one.ours.cpu) for one in rounds), strict=True)
    )
    sent, ratio = rounds[0].numbers, ours / plain
    holds = "yes" if ratio <= RATIO else "NO"
    many = f"{MANY:,} trials in {ours / trials * MANY / 60:.1f} minutes"
    return [
        (
            f"MLflow {where}, {trials:,} trials of {EPOCHS} epochs",
            f"{sent / ours:,.0f} metrics/s, runs, settings and data sets included; {1000 * ours / trials:.0f} ms a "
            f"trial, {1000 * cpu / trials:.0f} ms of the processor; {many}",
        ),
        (
            "  plain log_batch calls of the same metrics, one after the other",
            f"{sent / plain:,.0f} metrics/s; {ratio:.2f}× the time (hold ≤ {RATIO:g}): {holds}",
        ),
    ], ratio <= RATIO


def rest() -> tuple[list[Line], bool]:
    """What a server takes in a second, taken in turns."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as (address, kind):
        compared(address, 4)  # its workers have imported everything
        rounds = [compared(address, REST_TRIALS) for _ in range(ROUNDS)]
    return _told(f"on {kind} over REST", REST_TRIALS, rounds)


def file(full: bool) -> Iterator[tuple[list[Line], bool]]:
    """The same in SQLite, which a storage has by itself, of few trials and of many."""
    few, many = FILE_TRIALS[0], MANY if full else FILE_TRIALS[1]
    first, last = [compared(None, few) for _ in range(ROUNDS)], compared(None, many)
    yield _told("in SQLite", few, first)
    yield _told("in SQLite", many, [last])
    growth = (last.ours.cpu / many) / (median(one.ours.cpu for one in first) / few)
    holds = growth <= GROWTH
    yield (
        [("  flat", f"{growth:.2f}× the processor's time of a trial (hold ≤ {GROWTH:g}): {'yes' if holds else 'NO'}")],
        holds,
    )


def sweeps() -> tuple[list[Line], bool]:
    """A sweep followed on a server that answers late, and on one that is away, against one that is not followed."""
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder)) as (address, _),
        before(address) as (late, faults),
    ):
        faults.late_s, faults.choose = LATE_S, lambda request: "late"
        kinds: dict[str, Mapping[str, Any]] = {
            "not followed": {"enabled": False},
            f"followed on a server that answers {1000 * LATE_S:.0f} ms late": {"uri": late},
            "followed on a server that is away": {"uri": "http://127.0.0.1:9"},
        }
        took: dict[str, list[Swept]] = {name: [] for name in kinds}
        for _ in range(ROUNDS):
            for name, tracking in kinds.items():
                took[name].append(_swept(tracking))
        waiting = {name: _waiting(tracking) for name, tracking in kinds.items() if "uri" in tracking}
    base = took["not followed"]
    lines = [
        (
            f"{'' if name == 'not followed' else '  '}a sweep of {SWEPT} trials, {name}",
            f"{_middle(swept, 'training'):.1f} s of training, {_against(swept, base, 'training')}; driver "
            f"{_middle(swept, 'driver_cpu'):.1f} s of the processor, {_against(swept, base, 'driver_cpu')}; "
            f"{_middle(swept, 'ending'):.1f} s after the last trial",
        )
        for name, swept in took.items()
    ]
    for name, (start_s, share) in waiting.items():
        told = f"{start_s:.1f} s of the processor to start, then {share:.2%} of a core (hold ≤ {SHARE:.0%})"
        lines.append((f"  the tracker of a sweep {name}", f"{told}: {'yes' if share <= SHARE else 'NO'}"))
    return lines, all(share <= SHARE for _, share in waiting.values())


def _waiting(tracking: Mapping[str, Any]) -> tuple[float, float]:
    """Seconds of the processor that a tracker takes to start, and its share of a core while it waits for trials."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "study.json"
        written.write_text(tiny(folder, SWEPT, tracking=tracking).model_dump_json(), encoding="utf-8")
        command = [sys.executable, "-m", "orchestrator.cli", "track", str(written), "--follow"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet) as process:
            seen = []
            for wait_s in (STARTED_S, WAITED_S):
                time.sleep(wait_s)
                seen.append(sum(psutil.Process(process.pid).cpu_times()[:2]))
            process.kill()
    return seen[0], (seen[1] - seen[0]) / WAITED_S


def _middle(swept: Sequence[Swept], name: str) -> float:
    return median(getattr(one, name) for one in swept)


def _against(swept: Sequence[Swept], base: Sequence[Swept], name: str) -> str:
    """The ratio of the medians, and those of the rounds."""
    ratios = [getattr(one, name) / getattr(other, name) for one, other in zip(swept, base, strict=True)]
    return f"{_middle(swept, name) / _middle(base, name):.3f}× ({min(ratios):.3f} to {max(ratios):.3f})"


def _swept(tracking: Mapping[str, Any]) -> Swept:
    with tempfile.TemporaryDirectory() as folder:
        made = tiny(folder, SWEPT, tracking=tracking, train={"epochs": SWEPT_EPOCHS, "batch_size": 32})
        written = Path(folder) / "study.json"
        written.write_text(made.model_dump_json(), encoding="utf-8")
        command = [sys.executable, "-c", DRIVER, "sweep", str(written), "--quiet"]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        ended = now()
        ledger = Ledger(folder)
        rows = [
            row for phase in ("tune", "evaluate") for row in ledger.read(phase, ["started", "finished"]).to_pylist()
        ]
    first, last = min(row["started"] for row in rows), max(row["finished"] for row in rows)
    return Swept((last - first).total_seconds(), (ended - last).total_seconds(), float(said.splitlines()[-1]))


def measured(full: bool) -> Iterator[tuple[list[Line], bool]]:
    """Every measurement, with whether what is claimed of it holds."""
    yield rest()
    yield from file(full)
    yield sweeps()


def main() -> int:
    """Print every measurement; 1 when a bound is broken."""
    broken = False
    for lines, holds in measured("--full" in sys.argv):
        for what, value in lines:
            sys.stdout.write(f"{what}: {value}\n")
        sys.stdout.flush()
        broken |= not holds
    return int(broken)


if __name__ == "__main__":
    raise SystemExit(main())
