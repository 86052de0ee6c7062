"""Trials of several processes: what is refused before training, and real sweeps of them."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from builders import study
from in_process import trained_here
from orchestrator import Ledger
from orchestrator.engine.ranks import RankLost, _first, several
from orchestrator.errors import BadInput
from orchestrator.study.cells import expand
from running import HUNG_S, processes, slay, tailsweep, write
from workloads.ranks import ALONE

PAIRS = """
study: pairs
workloads: [nhanes-sbp]
recipes: {also: [mse + fds]}
tune: {trials: 2, parallel: 2, rescore: 1}
evaluate: {seeds: 2}
train: {epochs: 3}
checkpoint_every_s: 0
tracking: {enabled: false}
"""
TWO = ("--set", "resources.processes=2")
FOLLOWER = b"ray::Follower"
EVIL = """
import time
from torch import distributed
from workloads.hparams import Declared
from workloads.seam import Method

class Evil(Method):
    '''Does harm in the second process, from the second epoch on.'''
    source = "made up"
    class Hparams(Declared):
        pass
    def penalty(self, step):
        if step.batch.epoch and distributed.get_rank() == 1:
            self.harm(len(step.batch.index))
        return step.pred.sum() * 0

class Stuck(Evil):
    def harm(self, rows):
        time.sleep(3600)

class Hungry(Evil):
    def harm(self, rows):
        if rows > 64:
            raise MemoryError

METHODS = {"stuck": Stuck, "hungry": Hungry}
"""


@pytest.mark.parametrize(
    ("tree", "law"),
    [
        (
            {"recipes": {"also": ["l1 + lds", "l1 + ranksim + gar"]}},
            "ranksim and gar must see a batch whole, which several",
        ),
        ({"recipes": {"also": ["bmse"]}}, "bmse must see a batch whole"),
        ({"recipes": {"also": ["l1 + fds"]}, "space": {"fds.statistics": "streaming"}}, "fds must see a batch whole"),
        ({"recipes": {"also": ["boosting"]}}, "boosting must see a batch whole"),
        (
            {"recipes": {"also": ["l1"]}, "resources": {"processes": 2, "pack": 8}},
            "nhanes-sbp has several processes",
        ),
        (
            {"recipes": {"also": ["arb"]}, "workloads": ["digits-lt"]},
            "BatchNorm, whose statistics several processes share",
        ),
    ],
)
def test_what_several_processes_cannot_train_is_refused_at_plan(tree: dict[str, object], law: str) -> None:
    with pytest.raises(BadInput, match=law):
        expand(study(**{"resources": {"processes": 2}, **tree}))


def test_what_several_processes_can_train_is_planned_as_ever() -> None:
    also = {"also": ["mse + lds", "l1 + fds + rrt", "bmse", "l1 + affine_oof"]}
    plain = {"recipes": also, "space": {"bmse.variant": "gai"}}
    assert expand(study(**plain, resources={"processes": 2})) == expand(study(**plain))
    assert expand(study(workloads=["digits-lt"], recipes={"also": ["arb"]}, resources={"gpus": 2}))


def test_one_process_is_alone_and_starts_no_other() -> None:
    with several(1, torch.device("cpu"), pytest.fail, lambda rank, port: None) as ranks:
        assert ranks is ALONE


def test_of_several_errors_the_one_counts_of_which_the_others_are_the_consequence() -> None:
    lost, short, reset = RankLost("gone"), MemoryError(), RuntimeError("connection closed by peer")
    assert _first([reset, lost]) is lost and _first([reset, lost, short]) is short and _first([reset]) is reset


def curves(storage: Path) -> dict[str, list[float]]:
    return {
        row["trial_id"]: [epoch["loss"] for epoch in row["curve"]]
        for phase in ("tune", "evaluate")
        for row in Ledger(str(storage)).read(phase).to_pylist()
    }


FIRST = """
import ray
import torch
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from torch import distributed
from orchestrator.engine.ranks import several
from workloads.ranks import join, meeting

def follow(rank, port):
    join(rank, 2, meeting(2, port), torch.device("cpu"))
    while True:
        distributed.all_reduce(torch.ones(1))

@ray.remote(num_cpus=1)
def first():
    with several(2, torch.device("cpu"), list, follow):
        distributed.all_reduce(torch.ones(1))
        raise MemoryError

ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
group = ray.util.placement_group([{"CPU": 1}] * 2, strategy="STRICT_PACK")
place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
try:
    ray.get(first.options(scheduling_strategy=place).remote())
except ray.exceptions.RayTaskError as err:
    print(type(err.cause).__name__)
"""


@pytest.mark.slow
def test_an_error_of_the_first_process_is_told_and_not_that_the_others_lost_it() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, timeout=HUNG_S, check=False)
    assert done.stdout == "MemoryError\n", done.stdout + done.stderr


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage of the study, each of whose trials one process trained."""
    folder = tmp_path_factory.mktemp("alone")
    return trained_here(write(folder, PAIRS), folder / "results")


def followers_end() -> None:
    deadline = time.monotonic() + 30
    while processes(FOLLOWER) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not processes(FOLLOWER)


@contextmanager
def killed_once() -> Iterator[list[int]]:
    """Kill one of the further processes, when there is one that trains."""
    hit: list[int] = []
    ended = threading.Event()

    def look() -> None:
        while not hit and not ended.wait(0.1):
            if found := processes(FOLLOWER + b".do"):
                time.sleep(1.0)
                slay(found[0])
                hit.append(found[0])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield hit
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
def test_a_sweep_of_trials_of_two_processes_has_the_curves_of_one_process_and_leaves_no_process(
    alone: Path, tmp_path: Path
) -> None:
    path = write(tmp_path, PAIRS)
    tailsweep("sweep", path, "--storage", tmp_path / "results", *TWO)
    expected, found = curves(alone), curves(tmp_path / "results")
    shared = expected.keys() & found.keys()
    assert len(shared) >= 3, "other settings may be selected where scores are close"
    for trial in shared:
        assert found[trial] == pytest.approx(expected[trial], rel=1e-3)
    rows = Ledger(str(tmp_path / "results")).read("evaluate").to_pylist()
    assert all("trained by 2 processes" in row["log"] and row["predictions"] for row in rows)
    followers_end()


@pytest.mark.slow
def test_a_trial_whose_second_process_is_lost_is_given_out_again(tmp_path: Path) -> None:
    path = write(tmp_path, PAIRS.replace("epochs: 3", "epochs: 40"))
    with killed_once() as hit:
        said = tailsweep("sweep", path, "--storage", tmp_path / "results", *TWO)
    assert hit and "RankLost: a process of the trial was lost" in said
    rows = Ledger(str(tmp_path / "results")).read("tune").to_pylist()
    assert {row["status"] for row in rows} == {"completed"}, said
    followers_end()


@pytest.mark.parametrize(
    ("method", "limits", "reason", "log"),
    [
        pytest.param(
            "stuck",
            ("--set", "tune.epoch_time_limit_s=20"),
            "Timed out after 20 s in one epoch",
            "its worker was killed",
            marks=pytest.mark.slow,
        ),
        pytest.param("hungry", (), None, "every batch was trained in 2 pieces", marks=pytest.mark.long),
    ],
)
def test_a_process_that_hangs_ends_with_its_trial_and_one_without_memory_has_it_tried_in_pieces(
    method: str, limits: tuple[str, ...], reason: str | None, log: str, tmp_path: Path
) -> None:
    (tmp_path / "evil.py").write_text(EVIL, encoding="utf-8")
    text = PAIRS.replace("[mse + fds]", f"[mse + {method}]").replace("trials: 2", "trials: 1")
    path = write(tmp_path, text + "plugins: [evil]\n")
    tailsweep("sweep", path, "--storage", tmp_path / "results", *TWO, *limits, "--failed-ok")
    (row,) = Ledger(str(tmp_path / "results")).read("tune").to_pylist()
    assert (row["error"], row["status"]) == (reason, "failed" if reason else "completed")
    assert log in row["log"]
    followers_end()
