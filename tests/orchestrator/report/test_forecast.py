"""What a study will take: sums of its cells, by what was measured and nothing else."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from builders import cell, record, score, study
from orchestrator.cli.main import main
from orchestrator.engine.probe import probe
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.parquet import to_parquet
from orchestrator.report.disk import COPIES, record_bytes
from orchestrator.report.expected import expected, size
from orchestrator.report.forecast import Disk, Forecast, forecast
from orchestrator.report.pace import Pace, measured, pace_of
from orchestrator.report.settings import ranges_by_workload
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from reported import declared
from workloads.hparams import Float
from workloads.trainers import start

PACES = {("nhanes-sbp", "l1"): Pace(2.0, "ledger"), ("nhanes-sbp", "l1 + lds"): Pace(3.0, "probe")}


def planner(ended: int = 0) -> Planner:
    """Two cells of 3 + 2 trials with 2 epochs each, of which some have ended, after a second each."""
    made = study(tune={"trials": 3, "parallel": 3, "rescore": 1, "sampler": "random"})
    found = Planner(made, expand(made), lambda trial_id, phase: None)
    for _ in range(ended):
        trial = found.next()
        assert trial is not None
        found.finish(trial, record(trial, 1.0))
    return found


def test_hours_are_what_was_used_and_what_is_left_at_the_pace_of_each_recipe() -> None:
    made = forecast(study(), planner(), "here", PACES, 4, 1.5)
    assert made.trials == made.left == 10 and made.epochs == 20
    assert made.device_hours == pytest.approx((5 * 2 * 2.0 + 5 * 2 * 3.0) / 3600) == made.left_device_hours
    assert made.left_hours == pytest.approx(made.device_hours / 4)
    assert made.money is not None and made.money.all == pytest.approx(made.device_hours * 1.5) == made.money.left
    later = forecast(study(), planner(4), "here", PACES, 4)
    assert later.left == 6 and later.money is None
    assert later.device_hours is not None and later.left_device_hours is not None
    assert later.device_hours - later.left_device_hours == pytest.approx(4 / 3600), "seconds that trials really took"
    for name in ("trials", "left", "device_hours", "left_device_hours"):
        assert getattr(later, name) == pytest.approx(sum(getattr(one, name) for one in later.cells))


def test_a_device_hour_is_that_of_the_budget_whatever_a_trial_is_given() -> None:
    quarter = study(resources={"of": {"nhanes-sbp": {"gpus": 0.25}}})
    whole, shared = (forecast(made, planner(4), "here", PACES, 4) for made in (study(), quarter))
    for name in ("device_hours", "left_device_hours"):
        assert getattr(shared, name) == pytest.approx(getattr(whole, name) / 4)
    assert shared.left_hours == pytest.approx(whole.left_hours), "a clock knows no shares"


def test_hours_are_those_of_the_epochs_that_halving_leaves() -> None:
    made = study(
        recipes={"also": ["l1"]},
        tune={"trials": 8, "scheduler": "halving", "rescore": 1},
        train={"epochs": 8},
    )
    found = Planner(made, expand(made), lambda trial_id, phase: None)
    before = forecast(made, found, "here", PACES, 1)
    assert before.epochs == 8 * 2 + 4 * 2 + 2 * 4 + 2 * 8
    assert before.device_hours == pytest.approx(before.epochs * 2.0 / 3600)
    while (trial := found.next()) is not None:
        curve, until = record(trial, 4.0 + trial.number).curve, found.until(trial)
        found.pause(trial, curve[:until]) if until < 8 else found.finish(trial, record(trial, 4.0 + trial.number))
        for stop in found.stops:
            found.finish(
                stop.trial, replace(record(stop.trial, 9.0, "stopped"), curve=stop.curve, epochs_run=len(stop.curve))
            )
    after = forecast(made, found, "here", PACES, 1)
    assert after.left == 0 and after.left_device_hours == 0.0


def test_what_nothing_measured_is_unknown_and_says_how_to_learn_it() -> None:
    made = forecast(study(), planner(), "here", {}, 1, 2.0)
    assert made.device_hours is made.left_hours is None and made.money is not None and made.money.all is None
    assert "unknown" in expected(made)[0] and "--probe" in expected(made)[0]
    other = {("nhanes-sbp", "mse"): Pace(1.0, "ledger"), ("else", "l1"): Pace(9.0, "ledger")}
    assert pace_of(other, "nhanes-sbp", "l1") == Pace(1.0, "similar")
    assert pace_of(other, "nobody", "l1") == Pace()


def test_the_pace_is_the_mean_over_the_epochs_of_all_trials(tmp_path: Path) -> None:
    ledger, one = Ledger(str(tmp_path)), cell("l1")
    for number, (epochs, seconds) in enumerate([(10, 5.0), (30, 5.0), (0, 7.0)]):
        made = record(one.trial("tune", number, {}, number), 1.0, "completed" if epochs else "failed")
        ledger.commit(replace(made, epochs_run=epochs, wall_s=seconds), "tune")
    assert measured(ledger) == {("nhanes-sbp", "l1"): Pace(0.25, "ledger")}


@pytest.mark.parametrize(("epochs", "every"), [(2, 1), (40, 1), (40, 7)])
def test_the_size_of_a_record_is_that_of_one_that_is_written(epochs: int, every: int) -> None:
    rng, one = np.random.default_rng(1), cell("l1")
    made = record(one.trial("evaluate", 0, {}), 1.0)

    def drawn() -> tuple:
        return tuple(score(rng.random(), region, metric) for metric in ("mae", "gm") for region in ("all", "few"))

    validated = {*range(every - 1, epochs, every), epochs - 1}
    curve = tuple(
        replace(made.curve[0], epoch=e, loss=rng.random(), val=drawn() if e in validated else ()) for e in range(epochs)
    )
    written = len(to_parquet(replace(made, val=drawn(), test=drawn(), curve=curve).to_arrow("evaluate")))
    assert record_bytes("evaluate", 4, epochs, every) == pytest.approx(written, rel=0.25)


def test_room_is_kept_for_checkpoints_of_what_runs_or_waits_and_for_kept_models() -> None:
    def disk(at_once: int, **changes: object) -> Disk:
        made = study(recipes={"also": ["l1"]}, **changes)
        found = Planner(made, expand(made), lambda trial_id, phase: None)
        return forecast(made, found, "here", PACES, at_once).disk

    alone = {"pack": "off"}
    one = disk(1, resources=alone)
    assert one.models == 0 and disk(3, resources=alone).checkpoints == 3 * one.checkpoints, "of one cell, too"
    assert disk(1).checkpoints == 8 * one.checkpoints, "a pack"
    assert disk(3).checkpoints == 11 * one.checkpoints, "of a pack and a part of one"
    halved = disk(3, tune={"trials": 9, "scheduler": "halving"}, train={"epochs": 8})
    assert halved.checkpoints == 8 * one.checkpoints, "a population waits"
    for kept in ("best", "all"):
        assert disk(1, evaluate={"seeds": 2, "keep_models": kept}).models == 2 * one.checkpoints / COPIES


def test_sizes_are_told_with_three_digits() -> None:
    assert [size(n) for n in (0, 999, 1500, 2_345_678, 5e15)] == ["0 B", "999 B", "1.5 kB", "2.35 MB", "5e+03 TB"]


def test_every_workload_has_its_own_ranges_and_recipes_that_differ_are_named() -> None:
    one = cell("l1")
    wider = replace(one.axes[0], range=Float(0.5, 5.0, log=True))
    other = replace(one, workload="other", axes=(wider, *one.axes[1:]))
    lines = ranges_by_workload([one, other])
    assert [line for line in lines if "ranges of" in line] == ["  ranges of nhanes-sbp:", "  ranges of other:"]
    rates = [line for line in lines if one.axes[0].name in line]
    assert len(rates) == 2 and str(one.axes[0].range) in rates[0] and str(wider.range) in rates[1]
    told = ranges_by_workload([one, replace(other, workload=one.workload, recipe=cell("mse").recipe)])
    assert [line.split("  in ")[1] for line in told if one.axes[0].name in line] == ["l1", "mse"]


def test_a_probe_trains_and_writes_nothing_and_a_plan_tells_hours_by_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = study(workloads=[declared(tmp_path)], train={"epochs": 50}, storage=str(tmp_path / "none"))
    (tmp_path / "study.json").write_text(made.model_dump_json())
    args = ["plan", str(tmp_path / "study.json"), "--json", "--price", "2"]
    assert main([*args, "--probe", "60"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert Forecast.model_validate(tree).model_dump(mode="json") == tree
    assert {one["measured"] for one in tree["cells"]} == {"probe"}
    assert tree["money"]["all"] == pytest.approx(2 * tree["device_hours"]) and tree["device_hours"] > 0
    assert not (tmp_path / "none").exists()


def test_a_probe_keeps_to_its_time_and_says_what_it_could_not_measure(tmp_path: Path) -> None:
    made = study(workloads=[declared(tmp_path)])
    found = Planner(made, expand(made), lambda trial_id, phase: None)
    said: list[str] = []
    assert probe(made, [plan.trials["tune"][0] for plan in found.plans], 0.002, said.append) == {}
    assert len(said) == 2 and "an epoch takes longer" in said[0]


def test_an_epoch_of_a_probe_is_validated_also_where_most_epochs_of_a_trial_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = study(workloads=[declared(tmp_path)], recipes={"also": ["l1"]}, train={"validate_every": 4})
    (plan,) = Planner(made, expand(made), lambda trial_id, phase: None).plans
    epochs: list[Any] = []

    def begin(*of: Any) -> Any:
        for epoch in start(*of):
            epochs.append(epoch)
            yield epoch

    monkeypatch.setattr("orchestrator.engine.probe.start", begin)
    assert probe(made, [plan.trials["tune"][0]], 60.0, print)
    assert epochs and all(epoch.val for epoch in epochs)


def test_a_probe_gives_a_trial_what_it_is_given_in_a_sweep_and_says_what_cannot_be_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = declared(tmp_path)
    made = study(workloads=[own], resources={"of": {own["name"]: {"cpus": 3}}})
    found = Planner(made, expand(made), lambda trial_id, phase: None)
    threads: list[int] = []

    def begin(*of: Any) -> Any:
        threads.append(torch.get_num_threads())
        if len(threads) == 1:
            raise RuntimeError("no such kernel")
        return iter([None] * 2)

    monkeypatch.setattr("orchestrator.engine.probe.start", begin)
    said: list[str] = []
    probe(made, [plan.trials["tune"][0] for plan in found.plans], 5.0, said.append)
    assert set(threads) == {3} and said[0] == f"{found.plans[0].cell.name}: RuntimeError: no such kernel"
    assert len(said) == len(found.plans) == 2 and "an epoch takes longer" in said[1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--price", "cheap"], "a price of a device hour must be a number of at least 0: got 'cheap'"),
        (["--price", "-1"], "a price of a device hour"),
        (["--probe", "0"], "seconds of a probe must be a number of at least 1"),
    ],
)
def test_bad_numbers_are_told(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *args]) == 2
    assert message in capsys.readouterr().err


def test_the_price_of_a_machine_is_shared_by_the_trials_on_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["plan", "--storage", str(tmp_path / "none"), "--json", "--cluster", "aws-batch"]
    args += ["--cluster-set", "options.price_per_hour=1.0", "--cluster-set", "options.vcpus=4"]
    assert main(args) == 0
    assert json.loads(capsys.readouterr().out)["money"]["per_device_hour"] == 0.25
    gpus = ["--cluster-set", "options.gpus=1", "--set", "resources.of={nhanes-sbp: {gpus: 0.5}}"]
    assert main([*args, *gpus]) == 0
    assert json.loads(capsys.readouterr().out)["money"]["per_device_hour"] == 1.0, "two halves of its GPU"
    processes = ["--set", "resources.processes=2", "--set", "recipes={also: [l1]}", "--set", "space={}"]
    assert main([*args, *processes]) == 0
    assert json.loads(capsys.readouterr().out)["money"]["per_device_hour"] == 0.125, "four trials of two processes"
    assert main([*args, "--set", "budget.price_per_hour=3"]) == 0
    assert json.loads(capsys.readouterr().out)["money"]["per_device_hour"] == 3.0, "as the budget counts it"
