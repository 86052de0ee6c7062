"""What following a study in MLflow costs: `PYTHONPATH=.:tests python -m bench.tracking [--full]`.

Our projection (runs, settings, data sets and numbers) is compared with plain `log_batch` calls of the same numbers into
runs that are there: over REST, on PostgreSQL where this machine has it, and in a SQLite file. A sweep that is followed
on a server that answers 200 ms late, and on one that is away, is compared with one that is not followed.
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
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.engine import tiny
from builders import record, score, study
from clusters.mlflow import database
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import CurveRow, Record
from orchestrator.study.cells import Trial, expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from orchestrator.tracking._entities import metrics_of
from orchestrator.tracking.mlflow import BATCH, Projection
from s3_server import before, free_port

EPOCHS: Final = 30
REST_TRIALS, FILE_TRIALS, MANY, SWEPT = 40, 60, 10_000, 10
LATE_S: Final = 0.2
ROUNDS: Final = 3
RATIO: Final = 2.5
"""The bound on the time of the projection against that of plain batches, which make no runs."""
Line = tuple[str, str]


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


def compared(uri: str | None, trials: int) -> tuple[float, float, int]:
    """Seconds of our projection and of plain batches of the same numbers, and how many numbers these are."""
    with tempfile.TemporaryDirectory() as storage:
        made, planner = made_up(storage, trials)
        tracked = made.tracking.model_copy(update={"uri": uri})
        made = made.model_copy(update={"study": f"bench-{time.time_ns()}", "tracking": tracked})
        projection = Projection(made, Ledger(storage))
        numbers = [list(metrics_of(one, 0)) for one in planner.plans[0].records("tune")]
        runs = [projection.client.create_run(projection.experiment).info.run_id for _ in numbers]
        plain = _seconds(lambda: _batches(projection.client, runs, numbers))
        ours = _seconds(lambda: projection.update(planner.plans))
    return ours, plain, sum(map(len, numbers))


def _batches(client: Any, runs: Sequence[str], numbers: Sequence[list[Any]]) -> None:
    for run, metrics in zip(runs, numbers, strict=True):
        for start in range(0, len(metrics), BATCH):
            client.log_batch(run, metrics=metrics[start : start + BATCH])


def _told(where: str, trials: int, rounds: Sequence[tuple[float, float, int]]) -> tuple[list[Line], bool]:
    ours, plain = (median(times) for times in list(zip(*rounds, strict=True))[:2])
    sent, ratio = rounds[0][2], ours / plain
    holds = "yes" if ratio <= RATIO else "NO"
    many = f"{MANY:,} trials in {ours / trials * MANY / 60:.0f} minutes"
    return [
        (
            f"MLflow {where}, {trials:,} trials of {EPOCHS} epochs",
            f"{sent / ours:,.0f} metrics/s, runs, settings and data sets included; {many}",
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


def file(full: bool) -> tuple[list[Line], bool]:
    """The same in SQLite, which a storage has by itself."""
    trials = MANY if full else FILE_TRIALS
    return _told("in SQLite", trials, [compared(None, trials) for _ in range(1 if full else ROUNDS)])


def sweeps() -> tuple[list[Line], bool]:
    """A sweep followed on a server that answers late, and on one that is away, against one that is not followed.

    Told and not held: two runs of the same sweep differ by more than the 1 % that is claimed.
    """
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
        took: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(ROUNDS):
            for name, tracking in kinds.items():
                took[name].append(_swept(tracking))
    base = median(took["not followed"])
    return [
        (
            f"{'' if name == 'not followed' else '  '}a sweep of {SWEPT} trials, {name}",
            f"{median(times):.1f} s of training; {median(times) / base:.3f}× ({min(times):.1f} to {max(times):.1f} s)",
        )
        for name, times in took.items()
    ], True


def _swept(tracking: Mapping[str, Any]) -> float:
    """Seconds from the start of the first trial to the end of the last."""
    with tempfile.TemporaryDirectory() as folder:
        made = tiny(folder, SWEPT, tracking=tracking, train={"epochs": 400, "batch_size": 32})
        written = Path(folder) / "study.json"
        written.write_text(made.model_dump_json(), encoding="utf-8")
        command = [sys.executable, "-m", "orchestrator.cli", "sweep", str(written), "--quiet"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ledger = Ledger(folder)
        rows = [
            row for phase in ("tune", "evaluate") for row in ledger.read(phase, ["started", "finished"]).to_pylist()
        ]
    return float((max(row["finished"] for row in rows) - min(row["started"] for row in rows)).total_seconds())


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measured(full: bool) -> Iterator[tuple[list[Line], bool]]:
    """Every measurement, with whether what is claimed of it holds."""
    yield rest()
    yield file(full)
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
