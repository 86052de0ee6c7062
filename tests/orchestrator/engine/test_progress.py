"""What a sweep shows where there is no terminal."""

import io

import pytest
from rich.console import Console

from builders import study
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
