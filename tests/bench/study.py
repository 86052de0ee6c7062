"""The performance claims, measured side by side in one run: `make bench`.

Absolute times belong to the machine; the ratios are the claims.
"""

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import torch
from rich.console import Console

from bench import costs, null_tables, packs, performance, planning
from bench import data as bench_data
from bench import engine as bench_engine
from bench import methods as parts
from bench import tracking as bench_tracking
from orchestrator.ledger.ledger import SEGMENT, Ledger
from orchestrator.ledger.records import CurveRow, Record, ScoreRow, now
from orchestrator.ledger.segments import concat
from orchestrator.study.cells import Trial, expand
from orchestrator.study.spec import Study

TRIALS = 60
RECORDS = 2000
MANY_RECORDS = 100_000
S3_RECORDS = 10_000
QUICK_IMAGES = 32
BROKEN: list[str] = []
"""Claims that did not hold."""
MEASURED: dict[str, list[bench_engine.Cost]] = {}
"""What the chart shows."""


def _study(storage: str, **changes: Any) -> Study:
    tree: dict[str, Any] = {
        "study": "bench",
        "workloads": ["nhanes-sbp"],
        "recipes": {"also": ["l1", "mse"]},
        "tune": {"trials": TRIALS // 2 - 1, "parallel": 4, "sampler": "random", "rescore": 1},
        "evaluate": {"seeds": 1},
        "train": {"epochs": 1},
        "storage": storage,
    }
    return Study.of({**tree, **changes})


def engine() -> list[tuple[str, str]]:
    """What the engine adds to training, beside Tune alone, by the number of trials."""
    sizes = (*bench_engine.SIZES, *([bench_engine.MOST] if "--full" in sys.argv else []))
    costs, per_second = bench_engine.measured(sizes)
    MEASURED["costs"] = costs
    lines = bench_engine.told(costs, per_second)
    BROKEN.extend(name for name, _, holds in lines if not holds)
    return [(name, f"{value}{'' if holds else ': NO'}") for name, value, holds in lines]


def _record(trial: Trial, number: int) -> Record:
    scores = tuple(
        ScoreRow(m, r, 1.0 + number, 10) for m in ("mae", "gm") for r in ("all", "many", "medium", "few", "zero")
    )
    return Record(
        trial_id=f"{number:020x}",
        study="bench",
        workload=trial.cell.workload,
        data=trial.cell.data,
        recipe=str(trial.cell.recipe),
        settings=trial.settings,
        seed=trial.seed,
        number=number,
        status="completed",
        epochs=30,
        epochs_run=30,
        kept_epoch=29,
        val=scores,
        test=scores,
        curve=tuple(CurveRow(e, 0, 1.0, scores) for e in range(30)),
        started=now(),
        finished=now(),
    )


def ledger() -> list[tuple[str, str]]:
    """Committing and reading records, against writing and reading plain files of the same size."""
    with tempfile.TemporaryDirectory() as storage:
        trial = expand(_study(storage))[0].trial("evaluate", 0, {})
        book = Ledger(storage)
        commit = _time(lambda: [book.commit(_record(trial, n), "evaluate") for n in range(RECORDS)])
        read = _time(lambda: book.read("evaluate"))
        size = len(book.store.get(book.store.keys("ledger/evaluate/")[0]) or b"")
        plain = Path(storage) / "plain"
        plain.mkdir()
        payload = os.urandom(size)
        write = _time(lambda: [(plain / str(n)).write_bytes(payload) for n in range(RECORDS)])
        load = _time(lambda: [(plain / str(n)).read_bytes() for n in range(RECORDS)])
    return [
        ("ledger, commit of a record (synced to disk)", f"{1000 * commit / RECORDS:.2f} ms; {size} bytes"),
        ("  a plain file of the same size, not synced", f"{1000 * write / RECORDS:.2f} ms; ratio {commit / write:.0f}"),
        ("ledger, read of a record", f"{1000 * read / RECORDS:.2f} ms"),
        ("  a plain file of the same size", f"{1000 * load / RECORDS:.2f} ms; ratio {read / load:.0f}"),
    ]


READER = """
import re, sys, time
from pathlib import Path
import pyarrow as pa
import pyarrow.compute as pc
from orchestrator.ledger.ledger import Ledger
ledger, start = Ledger(sys.argv[1]), time.perf_counter()
table = ledger.read("evaluate", ["recipe", "settings", "seed", "val", "test"])
test = table["test"].combine_chunks()
recipe = table["recipe"].combine_chunks().dictionary_encode().take(pc.list_parent_indices(test))
scores = test.flatten()
rows = pa.table({"recipe": recipe, **{n: scores.field(i) for i, n in enumerate(("metric", "region", "value"))}})
made = rows.group_by(["recipe", "metric", "region"]).aggregate([("value", "mean"), ("value", "stddev")])
assert len(made) == 10 and len(table) == int(sys.argv[2])
seconds = time.perf_counter() - start
# Not getrusage: there a process starts with the peak of the one that made it.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(seconds, int(peak[1]) / 1e6)
"""


def _noisy(record: Record) -> Record:
    """A record whose numbers do not compress."""
    draw = random.Random(record.trial_id).random

    def scores(rows: tuple[ScoreRow, ...]) -> tuple[ScoreRow, ...]:
        return tuple(replace(row, value=draw()) for row in rows)

    curve = tuple(replace(row, loss=draw(), val=scores(row.val)) for row in record.curve)
    return replace(record, val=scores(record.val), test=scores(record.test or ()), curve=curve)


def ledger_at_scale() -> list[tuple[str, str]]:
    """Reading and tabulating a compacted ledger in a process of its own, and looking its trials up."""
    with tempfile.TemporaryDirectory() as storage:
        _fill(Ledger(storage), MANY_RECORDS)
        size = sum(path.stat().st_size for path in Path(storage).rglob("*.parquet"))
        seconds, gigabytes = _read_apart(storage, MANY_RECORDS)
        fresh = Ledger(storage)
        index = _time(lambda: fresh.find("none", "evaluate"))
        found = _time(lambda: [fresh.find(f"{number:020x}", "evaluate") for number in range(RECORDS)]) / RECORDS
    return [
        (f"ledger, read and tabulate {MANY_RECORDS} records", f"{seconds:.1f} s of 5; {gigabytes:.2f} GB of 1"),
        ("  on disk, compacted", f"{size / 1e6:.0f} MB"),
        ("  the index, once per process", f"{index:.2f} s"),
        ("  then a record with its learning curve", f"{1000 * found:.2f} ms"),
    ]


def ledger_in_s3() -> list[tuple[str, str]]:
    """The same from an S3 server on this machine, in a process of its own."""
    port = _free_port()
    server = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "bench")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "bench")
    with subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not _bucket(f"http://127.0.0.1:{port}/bench"):
                time.sleep(0.1)
            storage = f"s3://bench/ledger?endpoint_url=http://127.0.0.1:{port}"
            _fill(Ledger(storage), S3_RECORDS)
            seconds, _ = _read_apart(storage, S3_RECORDS)
        finally:
            process.kill()
    return [(f"ledger in S3, read and tabulate {S3_RECORDS} compacted records", f"{seconds:.1f} s of 60")]


def _fill(book: Ledger, records: int) -> None:
    """Segments of made-up records of 30 epochs."""
    trial = expand(_study(book.store.uri))[0].trial("evaluate", 0, {})
    some = concat("evaluate", [_noisy(_record(trial, n)).to_arrow("evaluate") for n in range(RECORDS)])
    each = min(SEGMENT, records)
    for first in range(0, records, each):
        ids = pa.array([f"{number:020x}" for number in range(first, first + each)])
        part = pa.concat_tables([some] * (each // RECORDS))
        book.segments("evaluate").append(part.set_column(0, part.schema.field(0), ids))
        book.segments("evaluate").refresh()


def _read_apart(storage: str, records: int) -> tuple[float, float]:
    """Seconds and gigabytes of reading and tabulating a ledger in a fresh process."""
    command = [sys.executable, "-c", READER, storage, str(records)]
    seconds, gigabytes = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    return seconds, gigabytes


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _bucket(address: str) -> bool:
    """Make a bucket; False while the server does not answer yet."""
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="PUT"), timeout=5).close()
    except OSError:
        return False
    return True


def tracking() -> list[tuple[str, str]]:
    """What following a study in MLflow costs, on a server and in a file."""
    lines = []
    for told, holds in bench_tracking.measured("--full" in sys.argv):
        lines += told
        if not holds:
            BROKEN.append(told[0][0])
    return lines


def command_line() -> list[tuple[str, str]]:
    """`tailsweep --help` against starting Python, and against importing torch."""

    def start(*args: str) -> float:
        return median(_time(lambda: subprocess.run([sys.executable, *args], capture_output=True)) for _ in range(5))

    ours, bare = start("-m", "orchestrator.cli", "--help"), start("-c", "pass")
    torch = start("-c", "import torch")
    return [
        ("tailsweep --help", f"{1000 * ours:.0f} ms"),
        ("  python -c pass", f"{1000 * bare:.0f} ms; ratio {ours / bare:.1f}"),
        ("  python -c 'import torch'", f"{1000 * torch:.0f} ms; ratio {ours / torch:.2f}"),
    ]


def images() -> list[tuple[str, str]]:
    """Images read from the cache against decoded afresh; `python -m bench.data` measures more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        (found,) = bench_data.reading(Path(folder), QUICK_IMAGES)
    torch.set_num_threads(before)
    return [
        ("images of 224 px from the cache", f"{QUICK_IMAGES / found.ours_s:,.0f} images/s"),
        (
            "  decoded afresh, JPEG of 400 px",
            f"{QUICK_IMAGES / found.rival_s:,.0f} images/s; ratio {found.rival_s / found.ours_s:.0f}",
        ),
    ]


def speed_of_parts() -> list[tuple[str, str]]:
    """Objectives and methods against plain loops, and against copies of what they read."""
    lines = []
    for measurement in parts.measure():
        what, _, value = str(measurement).partition(": ")
        lines.append((what, value))
        if not measurement.holds:
            BROKEN.append(what)
    return lines


def _time(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


GROUPS: tuple[Callable[[], list[tuple[str, str]]], ...] = (
    command_line,
    ledger,
    ledger_at_scale,
    ledger_in_s3,
    planning.many_trials,
    tracking,
    images,
    engine,
    packs.epochs,
    packs.sweeps,
    null_tables.main,
    speed_of_parts,
    costs.cost_of_parts,
)


def main() -> int:
    """Measure and print; 1 when a claim does not hold.

    `--json` for programs, `--full` with 10,000 trials, `--write` into docs/performance.md, `--only NAME,…` some groups.
    """
    groups = {m.__module__.rpartition(".")[2] if m.__name__ == "main" else m.__name__: m for m in GROUPS}
    only = sys.argv[sys.argv.index("--only") + 1].split(",") if "--only" in sys.argv else list(groups)
    if missing := sorted(set(only) - set(groups)):
        raise SystemExit(f"--only takes groups of the benchmark: got {', '.join(missing)}; take {', '.join(groups)}")
    console = Console()
    found: dict[str, list[tuple[str, str]]] = {}
    for name in (name for name in groups if name in only):
        found[name] = groups[name]()
        for what, value in found[name] if "--json" not in sys.argv else ():
            console.print(f"{what:46} {value}", highlight=False, markup=False, soft_wrap=True)
        if "--write" in sys.argv:  # what was measured stays, also where a later group is interrupted
            args = f"--only {name}{' --full' if '--full' in sys.argv else ''}"
            performance.write(name, found[name], list(groups), args)
            if costs := MEASURED.pop("costs", None):
                performance.draw(costs)
    if "--json" in sys.argv:
        console.print_json(json.dumps(found))
    return int(bool(BROKEN))


if __name__ == "__main__":
    raise SystemExit(main())
