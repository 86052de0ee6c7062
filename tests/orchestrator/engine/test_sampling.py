"""Samples of the machine: few, spread over the trial, beside its record, and no part of it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import builders
from builders import START
from orchestrator.engine import sampling
from orchestrator.engine.packs import Jobs, run
from orchestrator.engine.sampling import EVERY_S, POINTS, Points
from orchestrator.engine.trial import Job
from orchestrator.ledger import samples
from orchestrator.ledger.copying import copy
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.names import OF_SAMPLES, foreign, samples_key
from orchestrator.ledger.records import Record
from orchestrator.ledger.samples import Sample
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study
from orchestrator.tracking.mlflow import KIND, Projection, tracking_uri

CPU = torch.device("cpu")
OURS = {
    "cpu_utilization_percentage",
    "system_memory_usage_megabytes",
    "system_memory_usage_percentage",
    "process_cpu_utilization_percentage",
    "process_memory_usage_megabytes",
}


@given(taken=st.integers(1, 400))
def test_points_are_few_even_and_span_the_trial(taken: int) -> None:
    points, at = Points(), START
    for _ in range(taken):
        points.add(at, {})
        at += timedelta(seconds=points.every_s)
    times = [at for at, _ in points.kept]
    assert min(taken, POINTS // 2) <= len(times) <= POINTS
    assert len({b - a for a, b in pairwise(times)}) <= 1
    assert times[0] == START and at - times[-1] <= timedelta(seconds=2 * points.every_s)


def test_points_go_on_at_the_pace_of_those_before() -> None:
    points, at = Points(), START
    for _ in range(3 * POINTS):
        points.add(at, {})
        at += timedelta(seconds=points.every_s)
    assert Points(points.kept).every_s == points.every_s > EVERY_S
    assert Points().every_s == EVERY_S


def made_in(folder: Path, **changes: Any) -> Study:
    return builders.study(recipes={"also": ["l1"]}, storage=str(folder), **changes)


def trained(made: Study, number: int = 0) -> Record:
    trial = builders.cell("l1").trial("tune", number, {})
    list(run(Job.of(trial, 0, made, made.storage)))
    record = Ledger(made.storage).find(trial.id, "tune")
    assert record is not None
    return record


def test_sampling_changes_no_study_no_trial_and_no_record(tmp_path: Path) -> None:
    plain = made_in(tmp_path / "plain")
    sampled = made_in(tmp_path / "sampled", tracking={"system_metrics": True})
    assert plain.definition() == sampled.definition()
    assert "system_metrics" not in plain.model_dump_json()
    assert Study.of(json.loads(sampled.model_dump_json())) == sampled
    first, second = trained(plain), trained(sampled)
    measured = ("started", "finished", "wall_s", "memory_mb")
    assert replace(first, **{name: getattr(second, name) for name in measured}) == second
    assert Ledger(plain.storage).store.keys(OF_SAMPLES) == []


def test_a_trial_leaves_samples_of_its_time_beside_its_record(tmp_path: Path) -> None:
    record = trained(made_in(tmp_path, tracking={"system_metrics": True}))
    ledger = Ledger(str(tmp_path))
    found = samples.find(ledger.store, (record.trial_id, 0))
    assert 1 <= len(found) <= POINTS
    assert all(record.started <= at <= record.finished and set(seen) == OURS for at, seen in found)
    last = found[-1][1]
    assert 0 < last["process_memory_usage_megabytes"] < last["system_memory_usage_megabytes"]
    assert 0 < last["system_memory_usage_percentage"] <= 100
    assert last["process_cpu_utilization_percentage"] > 0, "it trained"
    assert foreign(ledger.store.keys("ledger/")) == []


def test_a_trial_that_waited_adds_to_its_samples(tmp_path: Path) -> None:
    made = made_in(tmp_path, tracking={"system_metrics": True})
    trial = builders.cell("l1").trial("tune", 0, {})
    store = Ledger(made.storage).store
    for until, least in ((1, 1), (None, 2)):
        list(run(Job.of(trial, 0, made, made.storage, until=until)))
        found = samples.find(store, (trial.id, 0))
        assert len(found) >= least and found == sorted(found, key=lambda sample: sample[0])


def test_members_of_a_pack_share_the_samples_of_their_process(tmp_path: Path) -> None:
    made = made_in(tmp_path, tracking={"system_metrics": True})
    trials = [builders.cell("l1").trial("tune", number, {}) for number in range(2)]
    pack = Jobs([Job.of(trial, 0, made, made.storage) for trial in trials], lambda job, words: None)
    while not pack.done:
        pack.advance()
    pack.close()
    seen = [samples.find(Ledger(made.storage).store, (trial.id, 0))[-1][1] for trial in trials]
    memory = [one["process_memory_usage_megabytes"] for one in seen]
    assert max(memory) < 1.5 * min(memory), "each says what the process held, not a half of it"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_where_there_is_no_gpu_none_is_sampled() -> None:
    assert set(sampling.Machine(torch.device("cuda")).seen()) == OURS


def test_sampling_ends_with_a_trial_that_is_cut_off(tmp_path: Path) -> None:
    with pytest.raises(OSError), sampling.sampling(Ledger(str(tmp_path)).store, ("t", 0), CPU):
        raise OSError
    assert Ledger(str(tmp_path)).store.keys(OF_SAMPLES) == []


def kept(ledger: Ledger, attempt: tuple[str, int]) -> Sequence[Sample]:
    written = [(START + timedelta(seconds=k), {"cpu_utilization_percentage": 10.0 * k}) for k in range(4)]
    samples.write(ledger.store, attempt, written)
    return written


def test_samples_are_copied_with_a_ledger_and_damaged_ones_cost_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = Ledger(str(tmp_path / "a")), Ledger(str(tmp_path / "b"))
    written = kept(source, ("t", 0))
    copy(source, target, print)
    assert samples.find(target.store, ("t", 0)) == written
    target.store.put(samples_key(("t", 0)), b"junk")
    assert samples.find(target.store, ("t", 0)) == []
    assert "ledger/samples/t.0.parquet" in caplog.text


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlflow_shows_samples_at_their_times_where_the_study_asks_for_them(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    for name, wanted in (("sampled", True), ("plain", False)):
        made = made_in(tmp_path, study=name, tracking={"system_metrics": wanted})
        planner = Planner(made, expand(made), lambda trial_id, phase: None)
        trial = planner.next()
        assert trial is not None
        planner.finish(trial, builders.record(trial, 4.0, study=name))
        written = kept(ledger, (trial.id, 0))
        assert Projection(made, ledger).update(planner.plans) == 1
        client = mlflow.MlflowClient(tracking_uri(made))
        (run_id,) = [
            run.info.run_id
            for experiment in client.search_experiments(filter_string=f"name = '{name}'")
            for run in client.search_runs([experiment.experiment_id])
            if run.data.tags[KIND] == "trial"
        ]
        history = client.get_metric_history(run_id, "system/cpu_utilization_percentage")
        expected = [(k, int(at.timestamp() * 1000), 10.0 * k) for k, (at, _) in enumerate(written)]
        assert [(m.step, m.timestamp, m.value) for m in history] == (expected if wanted else [])
