"""What a sweep shows where there is no terminal."""

import io
import sys

import pytest
from rich.console import Console

from builders import record, study
from orchestrator.engine import progress
from orchestrator.engine.progress import Display
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner


def test_a_line_tells_epochs_of_a_long_trial_and_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    made = study(recipes={"also": ["l1"]}, tune={"trials": 1, "parallel": 1}, evaluate={"seeds": 1})
    planner = Planner(made, expand(made), lambda trial_id, phase: None)
    said = io.StringIO()
    with Display(planner, Console(file=said, width=200)) as display:
        trial = planner.next()
        assert trial is not None
        planner.reached(trial, trial.epochs // 2)
        clock[0] = 60.0
        display.tick()
    line, _ = said.getvalue().splitlines()
    half = f"{trial.epochs // 2}/{trial.epochs} epochs"
    assert line == f"0/2 trials done, 1 running ({half}), 0 failed, 1:00 elapsed, about 3:00 left", line


def test_off_a_terminal_a_line_comes_once_a_minute_and_when_a_step_of_a_cell_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    made = study(recipes={"also": ["l1"]}, tune={"trials": 2, "parallel": 1, "rescore": 1}, evaluate={"seeds": 1})
    planner = Planner(made, expand(made), lambda trial_id, phase: None)
    said = io.StringIO()
    with Display(planner, Console(file=said, width=20)) as display:
        for value in (3.0, 2.0, 4.0):
            trial = planner.next()
            assert trial is not None
            done = record(trial, value)
            planner.finish(trial, done)
            display.finished(trial, done)
            for _ in range(30):  # ten seconds a trial
                clock[0] += 1 / 3
                display.tick()
        clock[0] = 60.0
        display.tick()
        clock[0] = 61.0
        display.tick()
    lines = said.getvalue().splitlines()
    assert lines[:2] == [
        "nhanes-sbp/l1 is tuned, val/mae/all 2",
        "nhanes-sbp/l1 is evaluated, val/mae/all 2",
    ]
    assert [line.split(",")[0] for line in lines[2:]] == ["3/3 trials done"] * 2, "after a minute, and at the end"


def test_in_a_notebook_one_output_is_updated_in_place() -> None:
    from IPython.core.displaypub import CapturingDisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.display_pub = told = CapturingDisplayPublisher()
    try:
        made = study(recipes={"also": ["l1"]}, tune={"trials": 2, "parallel": 1, "rescore": 1}, evaluate={"seeds": 1})
        planner = Planner(made, expand(made), lambda trial_id, phase: None)
        with Display(planner, Console(force_jupyter=True)) as display:
            while (trial := planner.next()) is not None:
                done = record(trial, 3.0)
                planner.finish(trial, done)
                display.finished(trial, done)
                display.tick()
    finally:
        InteractiveShell.clear_instance()
    assert len({output["transient"]["display_id"] for output in told.outputs}) == 1
    assert [bool(output.get("update")) for output in told.outputs][:2] == [False, True]
    first, last = (output["data"] for output in (told.outputs[0], told.outputs[-1]))
    assert "0/3 trials done" in first["text/plain"] and "3/3 trials done" in last["text/plain"]
    assert "nhanes-sbp/l1" in last["text/html"]


@pytest.mark.parametrize("where", ["force_terminal", "force_jupyter"])
def test_what_is_printed_beside_a_quiet_console_is_seen_and_nothing_else(
    where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = study(recipes={"also": ["l1"]}, tune={"trials": 2, "parallel": 1, "rescore": 1}, evaluate={"seeds": 1})
    planner = Planner(made, expand(made), lambda trial_id, phase: None)
    with Display(planner, Console(quiet=True, **{where: True})) as display:
        display.tick()
        sys.stdout.write("from a loop over a stream\n")
    assert capsys.readouterr().out == "from a loop over a stream\n"
