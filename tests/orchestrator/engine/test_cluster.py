"""Studies on a Ray cluster of several hosts: shared out, shipped, and broken in the ways in which clusters break."""

import json
import re
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netns import missing
from orchestrator import Ledger
from orchestrator.catalogue.data import make_fixture
from orchestrator.ledger.records import Phase
from raycluster import HEALTH, PROJECT, Cluster, cluster
from running import HUNG_S
from workloads import WORKLOADS

STUDY = """
study: hosts
workloads: [nhanes-sbp]
recipes: {also: [l1 + whereabouts, l1 + lds + whereabouts]}
tune: {trials: 3, parallel: 3, rescore: 1}
evaluate: {seeds: 2}
train: {epochs: 8}
space: {whereabouts.weight: [0.01, 0.1]}
resources: {cpus: 0.25, gpus: 0.5}
tracking: {enabled: false}
plugins: [whereabouts]
checkpoint_every_s: 0
"""
TRIALS = 10
PLUGIN = """
import json, os, platform, time
from pathlib import Path
from typing import Annotated
from workloads.hparams import Declared, Float
from workloads.seam import Method

class Whereabouts(Method):
    '''Keep predictions small, note where every epoch was trained, and go on when nobody holds the host.'''
    source = "made up"

    class Hparams(Declared):
        weight: Annotated[float, Float(1e-3, 1.0, log=True)] = 0.1

    def penalty(self, step):
        return self.hparams.weight * step.pred.abs().mean()

    def end_epoch(self, epoch, features):
        place = dict(host=platform.node(), gpu=os.environ.get("CUDA_VISIBLE_DEVICES"), pid=os.getpid(), at=time.time())
        with (Path(NOTES) / f"{platform.node()}-{os.getpid()}").open("a") as notes:
            notes.write(json.dumps(place) + chr(10))
        while (Path(HOLDS) / platform.node()).exists():
            time.sleep(0.05)

METHODS = {"whereabouts": Whereabouts}
"""
COUNT = "from pathlib import Path; print(len(list((Path.home() / '.cache' / 'tailsweep').glob('*.arrow'))))"
"""Prints how many decoded sets a host keeps."""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Head, driver, `alpha` with two declared GPUs and `beta` with one."""
    if reason := missing():
        pytest.skip(reason)
    with cluster(tmp_path_factory.mktemp("cluster"), alpha=2, beta=1) as made:
        notes, holds = made.shared / "notes", made.shared / "holds"
        notes.mkdir()
        holds.mkdir()
        (made.shared / "study.yaml").write_text(STUDY, encoding="utf-8")
        places = f"NOTES = {str(notes)!r}\nHOLDS = {str(holds)!r}\n"
        (made.plugins / "whereabouts.py").write_text(places + PLUGIN, encoding="utf-8")
        yield made


@pytest.fixture(autouse=True)
def _nothing_goes_on(hosts: Cluster) -> Iterator[None]:
    """Whatever becomes of a test, its sweeps end with it."""
    yield
    hosts.stop()
    release(hosts, "alpha", "beta")


def sweep(
    hosts: Cluster, name: str, *options: str | Path, host: str = "driver", **environment: str
) -> subprocess.Popen[str]:
    storage = ["--storage", hosts.shared / name]
    study = hosts.shared / "study.yaml"
    return hosts.run("-m", "orchestrator.cli", "sweep", study, *storage, *options, host=host, **environment)


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    said, _ = process.communicate(timeout=HUNG_S)
    assert process.returncode == code, f"exit code {process.returncode}\n{said}"
    return said


def results(storage: Path) -> dict[str, Any]:
    """Everything about the trials that must not depend on where and how they ran; every trial once."""
    kept = ("phase", "settings", "status", "epochs_run", "kept_epoch", "val", "curve", "test")
    phases: tuple[Phase, ...] = ("tune", "evaluate")
    ledger = Ledger(str(storage))
    assert sum(len(ledger.store.keys(f"ledger/{phase}/")) for phase in phases) == TRIALS, "every trial once"
    return {row["trial_id"]: {name: row[name] for name in kept} for row in ledger.read().to_pylist()}


def until(what: Callable[[], Any], process: subprocess.Popen[str], seconds: float = HUNG_S) -> None:
    """Wait for something to come true while a sweep is under way."""
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate(timeout=60)[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def committed(hosts: Cluster, name: str) -> int:
    return len(list((hosts.shared / name / "ledger").glob("[te]*/*.parquet")))


def training_on(hosts: Cluster, host: str, since: float) -> int:
    """How many processes trained an epoch on a host after a moment."""
    return sum(path.stat().st_mtime > since for path in (hosts.shared / "notes").glob(f"{host}-*"))


def hold(hosts: Cluster, *names: str) -> None:
    """Let trials on these hosts stop at the end of an epoch, so that what happens now happens in mid-trial."""
    for name in names:
        (hosts.shared / "holds" / name).touch()


def release(hosts: Cluster, *names: str) -> None:
    """Let trials on these hosts go on."""
    for name in names:
        (hosts.shared / "holds" / name).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def alone(hosts: Cluster) -> Path:
    """The storage of an undisturbed run on one machine, without a cluster."""
    finish(sweep(hosts, "alone", "--set", "resources={cpus: 1}"))
    for note in (hosts.shared / "notes").iterdir():
        note.unlink()
    return hosts.shared / "alone"


def same(hosts: Cluster, name: str, alone: Path) -> None:
    assert results(hosts.shared / name) == results(alone)
    assert (hosts.shared / name / "hosts" / "table.csv").read_bytes() == (alone / "hosts" / "table.csv").read_bytes()
    assert not list((hosts.shared / name / "checkpoints").glob("*")), "a committed trial leaves no checkpoint"


@pytest.mark.slow
def test_workers_that_have_no_code_train_a_study_with_a_plugin_and_share_gpus(hosts: Cluster, alone: Path) -> None:
    started = time.time()
    hold(hosts, "alpha", "beta")
    process = sweep(hosts, "shipped", "--address", hosts.address)
    until(lambda: training_on(hosts, "alpha", started) == 4 and training_on(hosts, "beta", started) == 2, process)
    release(hosts, "alpha", "beta")
    finish(process)
    same(hosts, "shipped", alone)
    assert set(Ledger(str(hosts.shared / "shipped")).read()["host"].to_pylist()) == {"alpha", "beta"}
    spans: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for path in (hosts.shared / "notes").iterdir():
        notes = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        spans[notes[0]["host"], notes[0]["gpu"]].append((notes[0]["at"], notes[-1]["at"]))
    assert set(spans) == {("alpha", "0"), ("alpha", "1"), ("beta", "0")}
    most = {gpu: max(sum(a <= start <= b for a, b in told) for start, _ in told) for gpu, told in spans.items()}
    assert max(most.values()) == 2, f"half a GPU each, so two share one: {most}"


@pytest.mark.slow
def test_a_host_that_dies_and_one_that_is_cut_off_cost_no_result(hosts: Cluster, alone: Path) -> None:
    started = time.time()
    hold(hosts, "alpha")
    process = sweep(hosts, "broken", "--address", hosts.address)
    until(lambda: training_on(hosts, "alpha", started) and committed(hosts, "broken") >= 1, process)
    hold(hosts, "beta")
    killed = time.time()
    hosts.kill("alpha")
    release(hosts, "alpha")
    until(lambda: training_on(hosts, "beta", killed), process)
    before = committed(hosts, "broken")
    hosts.start("alpha")
    until(lambda: committed(hosts, "broken") > before, process)
    cut = time.time()
    hosts.network.cut(hosts.network.hosts["beta"])
    time.sleep(1.5 * int(HEALTH["RAY_health_check_failure_threshold"]))
    until(lambda: training_on(hosts, "alpha", cut), process)
    hosts.network.heal(hosts.network.hosts["beta"])
    release(hosts, "beta")
    said = finish(process)
    assert "worker lost, trying again: nhanes-sbp/" in said
    same(hosts, "broken", alone)


@pytest.mark.long
def test_a_machine_without_a_node_or_a_token_is_told_what_it_needs(hosts: Cluster) -> None:
    hosts.visit("outsider")
    said = finish(sweep(hosts, "none", "--address", hosts.address, host="outsider"), code=2)
    assert f"ray start --address={hosts.address} --num-cpus=0 --num-gpus=0" in said
    assert "no Ray node runs here" in said
    said = finish(sweep(hosts, "none", "--address", hosts.address, RAY_AUTH_MODE="disabled"), code=2)
    assert "have its token" in said


@pytest.mark.slow
def test_workers_with_other_code_train_nothing_and_are_named(hosts: Cluster) -> None:
    for package in ("clusters", "orchestrator", "workloads"):
        shutil.copytree(PROJECT / package, hosts.installed / package)
    with (hosts.installed / "workloads" / "losses.py").open("a") as file:
        file.write("# changed\n")
    shutil.copy(hosts.plugins / "whereabouts.py", hosts.installed)
    script = f"""
from clusters.profile import profile
from orchestrator import Study, sweep
study = Study.load({str(hosts.shared / "study.yaml")!r}, ["storage={hosts.shared / "other"}"])
cluster = profile("ray", ["ship=false"], {hosts.address!r})
sweep(study, cluster)
"""
    said = finish(hosts.run("-c", script), code=1)
    assert re.search(r"ClusterFailed: .*a worker must run the driver's code: (alpha|beta) has tailsweep", said)
    assert committed(hosts, "other") == 0


@pytest.mark.long
def test_every_host_finds_its_own_data_and_decodes_them_once(hosts: Cluster) -> None:
    make_fixture(WORKLOADS["agedb-dir"], hosts.shared / "faces")
    script = f"""
import os
from orchestrator.engine.trial import data_here
from workloads import WORKLOADS
os.environ["TAILSWEEP_DATA"] = {str(hosts.shared / "faces")!r}
print(WORKLOADS["agedb-dir"].load(data_here("/not/on/this/host")).fingerprint)
"""
    hosts.visit("gamma")
    hosts.visit("delta")
    trials = {host: [hosts.run("-c", script, host=host) for _ in range(3)] for host in ("gamma", "delta")}
    assert len({finish(trial) for same in trials.values() for trial in same}) == 1
    for host in trials:
        assert finish(hosts.run("-c", COUNT, host=host)) == "1\n"


@pytest.mark.long
def test_a_lost_head_ends_the_sweep_with_a_message_and_the_same_command_completes_it(
    hosts: Cluster, alone: Path
) -> None:
    command = ("headless", "--address", hosts.address)
    hold(hosts, "alpha")
    process = sweep(hosts, *command)
    until(lambda: committed(hosts, "headless") >= 2, process)
    hosts.kill("head")
    release(hosts, "alpha")
    said = finish(process, code=3)
    assert f"tailsweep: the cluster failed: its head at {command[-1]} has not answered for 20 s" in said
    assert committed(hosts, "headless") < TRIALS, "it was killed in time"
    hosts.kill("alpha", "beta", "driver")
    hosts.start("head", "driver", "alpha", "beta")
    finish(sweep(hosts, *command))
    same(hosts, "headless", alone)
