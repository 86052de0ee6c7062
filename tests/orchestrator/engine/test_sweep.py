"""Studies on a real Ray, through the command line, as a user runs them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from in_process import told, trained_here
from orchestrator import Ledger
from running import HUNG_S, STUDY, command, processes, results, slay, tailsweep, write


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    said = tailsweep("sweep", write(folder), "--storage", folder / "results")
    assert "14/14 trials done, 0 running, 0 failed" in said
    return folder / "results"


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of its trials trained one after another, without a sweep."""
    folder = tmp_path_factory.mktemp("expected")
    return trained_here(write(folder), folder / "results")


def test_a_study_ends_in_tables_a_page_and_a_ledger(whole: Path) -> None:
    assert {path.name for path in (whole / "tiny").iterdir()} == {
        "study.json",
        "table.md",
        "table.csv",
        "tidy.csv",
        "tidy.json",
        "tidy.parquet",
        "best.yaml",
        "table.tex",
        "report.html",
        "figures",
        "shards",
    }
    rows = (whole / "tiny" / "table.csv").read_text().splitlines()
    assert len(rows) == 3
    assert rows[0].startswith("workload,recipe,seeds,mae/all/mean,mae/all/sd,")
    assert all(line.split(",")[2] == "2" for line in rows[1:])
    page = (whole / "tiny" / "report.html").read_text()
    assert "l1 + fds + ranksim" in page
    assert page.count("<svg") >= 2
    assert not list((whole / "checkpoints").glob("*")), "a committed trial leaves no checkpoint"


def test_every_trial_of_the_plan_is_in_the_ledger_once(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads(told(capsys, "plan", write(tmp_path), "--storage", whole, "--json"))["trials"] == 14
    ledger = Ledger(str(whole))
    assert (ledger.read("tune").num_rows, ledger.read("evaluate").num_rows) == (10, 4)
    assert set(ledger.read("evaluate")["device"].to_pylist()) == {f"cpu ({os.uname().machine})"}


def test_running_a_complete_study_again_trains_nothing_and_writes_the_same(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (whole / "ledger").rglob("*.parquet")}
    table = (whole / "tiny" / "table.csv").read_bytes()
    assert "14 of 14 trials are in the ledger already" in told(capsys, "sweep", write(tmp_path), "--storage", whole)
    assert {path: path.stat().st_mtime_ns for path in (whole / "ledger").rglob("*.parquet")} == before
    assert (whole / "tiny" / "table.csv").read_bytes() == table


@pytest.mark.parametrize(
    "records",
    [
        pytest.param(0, marks=pytest.mark.long),
        pytest.param(3, marks=pytest.mark.slow),
        pytest.param(7, marks=pytest.mark.long),
    ],
)
def test_a_killed_study_continues_to_the_same_tables(expected: Path, tmp_path: Path, records: int) -> None:
    storage = tmp_path / "results"
    path = write(tmp_path)
    args = ("sweep", path, "--storage", storage, "--set", "checkpoint_every_s=0")
    process = subprocess.Popen(command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + HUNG_S
    while time.monotonic() < deadline and process.poll() is None:
        done = len(list((storage / "ledger").glob("[te]*/*.parquet")))
        if done >= records and (done or list((storage / "checkpoints").glob("*.pt"))):
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {p.name: p.stat().st_mtime_ns for p in (storage / "ledger").glob("[te]*/*.parquet")}
    assert len(kept) < 14, "it was killed in time"
    tailsweep(*args)
    assert results(storage) == results(expected)
    assert (storage / "tiny" / "table.csv").read_bytes() == (expected / "tiny" / "table.csv").read_bytes()
    after = {p.name: p.stat().st_mtime_ns for p in (storage / "ledger").glob("[te]*/*.parquet")}
    assert kept.items() <= after.items(), "what was in the ledger was not trained again"


@pytest.mark.long
def test_replicates_are_tuned_apart_and_are_what_the_table_counts(tmp_path: Path) -> None:
    tune = "tune: {trials: 2, rescore: 2, rescore_seeds: 1, replicates: 2}"
    path = write(tmp_path, re.sub("tune: .*", tune, STUDY).replace("seeds: 2", "seeds: 1"))
    assert "20/20 trials done" in tailsweep("sweep", path, "--storage", tmp_path / "results")
    said = tailsweep("status", path, "--storage", tmp_path / "results")
    assert "nhanes-sbp/l1 + lds: 5/5, best" in said and "nhanes-sbp/l1 + lds (replicate 1): 5/5, best" in said
    rows = (tmp_path / "results" / "tiny" / "table.csv").read_text().splitlines()
    assert [line.split(",")[:3] for line in rows[1:]] == [
        ["nhanes-sbp", "l1 + lds", "2"],
        ["nhanes-sbp", "l1 + fds + ranksim", "2"],
    ]


@pytest.mark.slow
def test_an_interrupted_study_says_how_to_go_on(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("sweep", write(tmp_path), "--storage", tmp_path / "results", "--set", "train.epochs=2000"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert any(re.search(r"running \([1-9]\d*/\d+ epochs\)", line) for line in process.stdout), "it says how far it is"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in said


STREAMING = """
import sys
from orchestrator import Study, stream
study = Study.load(sys.argv[1], ["storage=" + sys.argv[2]])
for record in stream(study):
    print("first", record.trial_id, flush=True)
    break
for record in stream(study):
    print("then", record.trial_id, flush=True)
"""


@pytest.mark.long
def test_a_loop_over_a_stream_that_was_left_goes_on_to_the_same_tables(expected: Path, tmp_path: Path) -> None:
    storage = tmp_path / "results"
    done = subprocess.run(
        [sys.executable, "-c", STREAMING, write(tmp_path), storage], capture_output=True, text=True, timeout=HUNG_S
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith(("first ", "then "))]
    assert [word for word, _ in lines].count("first") == 1
    seen = [trial for word, trial in lines if word == "then"]
    assert sorted(seen) == sorted(results(expected)), "each trial once, with those of the loop that was left"
    assert lines[0][1] in seen
    assert results(storage) == results(expected)
    assert (storage / "tiny" / "table.csv").read_bytes() == (expected / "tiny" / "table.csv").read_bytes()
    assert not processes(str(storage).encode()), "nothing is left behind"


@pytest.mark.long
def test_a_diverging_trial_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    path = write(tmp_path, STUDY.replace("[l1 + lds, l1 + fds + ranksim]", "[l1, mse]"))
    storage = tmp_path / "results"
    args = ("sweep", path, "--storage", storage, "--set", "train.optimizer=sgd", "--set", "train.lr=0.05")
    said = tailsweep(*args, code=3)
    assert "failed: nhanes-sbp/mse tune 0: Diverged: the training loss became" in said
    table = (storage / "tiny" / "table.md").read_text()
    assert "| mse | 0 | – |" in table
    assert "`mse`: 3 failed: Diverged" in table
    (failed,) = {row["recipe"] for row in Ledger(str(storage)).read("tune").to_pylist() if row["status"] == "failed"}
    assert failed == "mse"
    assert "mse: 0/5, 2 missing, 3 failed" in tailsweep("status", *args[1:], code=3)
    assert "3 failed" in tailsweep(*args, code=3), "what fails of itself is not tried again unasked"
    assert len(Ledger(str(storage)).store.keys("ledger/tune/")) == 3 + 3 + 2, "two of l1 rescore"
    tailsweep(*args, "--retry-failed", code=3)
    assert len(Ledger(str(storage)).store.keys("ledger/tune/")) == 3 + 3 + 2 + 3


@pytest.mark.long
def test_a_killed_worker_costs_no_result(expected: Path, tmp_path: Path) -> None:
    before = set(processes(b"ray::TrialActor"))
    storage = tmp_path / "results"
    process = subprocess.Popen(
        command("sweep", write(tmp_path), "--storage", storage), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + HUNG_S
    killed: set[int] = set()
    while time.monotonic() < deadline and process.poll() is None and len(killed) < 3:
        if len(list((storage / "ledger" / "tune").glob("*.parquet"))) > len(killed):
            for pid in set(processes(b"ray::TrialActor")) - before - killed:
                slay(pid)
                killed.add(pid)
        time.sleep(0.01)
    said, _ = process.communicate(timeout=HUNG_S)
    assert killed
    assert process.returncode == 0, said.decode()
    assert "worker lost, trying again: nhanes-sbp/" in said.decode()
    assert results(storage) == results(expected)


@pytest.mark.slow
def test_a_storage_that_breaks_during_a_sweep_ends_it_loudly_and_loses_nothing(expected: Path, tmp_path: Path) -> None:
    storage = tmp_path / "results"
    args = command("sweep", write(tmp_path), "--storage", storage)
    process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    tune = storage / "ledger" / "tune"
    deadline = time.monotonic() + HUNG_S
    while time.monotonic() < deadline and len(list(tune.glob("*.parquet"))) < 2:
        time.sleep(0.01)
    tune.rename(tmp_path / "kept")
    tune.write_text("a file where a folder must be")
    said, _ = process.communicate(timeout=HUNG_S)
    assert process.returncode == 4, said
    assert "tailsweep: the storage failed: cannot" in said
    tune.unlink()
    (tmp_path / "kept").rename(tune)
    tailsweep(*args[3:])
    assert results(storage) == results(expected)


@pytest.mark.long
def test_a_ledger_that_is_deleted_during_a_sweep_is_a_failed_storage_and_is_made_again(
    expected: Path, tmp_path: Path
) -> None:
    storage = tmp_path / "results"
    args = ("sweep", write(tmp_path), "--storage", storage)
    with subprocess.Popen(command(*args), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline = time.monotonic() + HUNG_S
        while len(list((storage / "ledger").glob("[te]*/*.parquet"))) < 2:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        shutil.rmtree(storage / "ledger", ignore_errors=True)
        said, _ = process.communicate(timeout=HUNG_S)
    assert process.returncode == 4, said
    assert "tailsweep: the storage failed: " in said
    assert "Traceback" not in said
    tailsweep(*args)
    assert results(storage) == results(expected)


@pytest.mark.slow
def test_fractions_of_declared_gpus_are_scheduled_and_the_device_is_told_honestly(tmp_path: Path) -> None:
    script = f"""
from clusters.profile import Profile
from orchestrator import Study, sweep
study = Study.load({str(write(tmp_path))!r}, [
    "storage={tmp_path / "results"}", "resources.gpus=0.5", "resources.cpus=0.25", "train.epochs=2"])
start = {{"num_cpus": 2, "num_gpus": 4, "include_dashboard": False, "log_to_driver": False}}
from orchestrator.engine import tune
asked = []
plain = tune.concurrency
tune.concurrency = lambda study, nodes: asked.append(plain(study, nodes)) or 3
assert sweep(study, Profile(name="four", start=start)).failed == 0
assert asked == [8], asked
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=HUNG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    devices = set(Ledger(str(tmp_path / "results")).read("evaluate")["device"].to_pylist())
    assert devices == {f"cpu ({os.uname().machine})"}


@pytest.mark.slow
def test_a_trial_that_fits_nowhere_is_refused(tmp_path: Path) -> None:
    args = ("sweep", write(tmp_path), "--storage", tmp_path / "results", "--set", "resources.gpus=1")
    assert "it asks for 1 CPUs and 1 GPUs" in tailsweep(*args, code=2)


@pytest.mark.long
def test_early_stopping_runs_and_leaves_stopped_trials_out_of_selection(tmp_path: Path) -> None:
    text = STUDY.replace("trials: 3, parallel: 2", "trials: 16, parallel: 4, scheduler: asha")
    path = write(
        tmp_path, text.replace("[l1 + lds, l1 + fds + ranksim]", "[l1 + lds]").replace("epochs: 4", "epochs: 9")
    )
    tailsweep("sweep", path, "--storage", tmp_path / "results")
    rows = Ledger(str(tmp_path / "results")).read("tune").to_pylist()
    assert len(rows) == 16 + 2 * 1, "the two that rescore are not stopped"
    stopped = [row for row in rows if row["status"] == "stopped"]
    assert stopped
    assert all(row["epochs_run"] < 9 and len(row["curve"]) == row["epochs_run"] for row in stopped)
    assert all(row["epochs_run"] == 9 for row in rows if row["status"] == "completed")


@pytest.mark.long
def test_a_tracking_server_that_is_away_does_not_stop_a_sweep_and_is_caught_up_later(
    expected: Path, tmp_path: Path
) -> None:
    path = write(tmp_path, STUDY.replace("tracking: {enabled: false}", ""))
    away = {"TAILSWEEP_TRACKING__URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    said = tailsweep("sweep", path, "--storage", tmp_path / "results", **away)
    assert "MLflow is behind" in said
    assert "`tailsweep track tiny` completes it" in said
    assert results(tmp_path / "results") == results(expected)
    assert "14 trials sent" in tailsweep("track", path, "--storage", tmp_path / "results")
    assert "0 trials sent" in tailsweep("track", path, "--storage", tmp_path / "results")


def test_another_study_under_the_same_name_is_refused_and_told_what_differs(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("sweep", write(tmp_path), "--storage", whole, "--set", "train.epochs=5")
    assert "differs in train.epochs: 4 there, 5 here" in told(capsys, *args, code=2)


@pytest.fixture
def running_ray() -> Iterator[str]:
    """The address of a Ray that somebody else started, without tokens."""
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    start = ["start", "--head", "--block", "--port", "6399", "--num-cpus", "2", "--include-dashboard=false"]
    process = subprocess.Popen(
        [*ray, *start, "--disable-usage-stats"],
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert any("Ray runtime started" in line for line in process.stdout)
    try:
        yield "127.0.0.1:6399"
    finally:
        for pid in processes(b":6399", b"port=6399", b"port\x006399"):
            slay(pid)  # `ray stop` stops every Ray on the machine, and SIGTERM takes half a minute
        process.communicate(timeout=60)


@pytest.mark.long
def test_a_running_cluster_is_used_and_left_running(running_ray: str, expected: Path, tmp_path: Path) -> None:
    args = ("sweep", write(tmp_path), "--storage", tmp_path / "results", "--address", running_ray)
    tailsweep(*args, RAY_AUTH_MODE="disabled")
    assert results(tmp_path / "results") == results(expected)
    assert "14 of 14 trials" in tailsweep(*args, RAY_AUTH_MODE="disabled")


@pytest.mark.slow
def test_a_cluster_that_starts_no_worker_is_at_fault_and_not_the_trials(running_ray: str, tmp_path: Path) -> None:
    args = ("sweep", write(tmp_path), "--storage", tmp_path / "results", "--address", running_ray)
    said = tailsweep(*args, code=3, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64)
    assert "tailsweep: the cluster failed: 5 workers were lost before one could start" in said
    assert not list((tmp_path / "results" / "ledger").rglob("*.parquet"))
