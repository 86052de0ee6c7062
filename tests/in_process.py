"""Done in this process: a study swept without Ray, one trial after the other, and commands of the command line."""

from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.engine.observer import Observer
from orchestrator.engine.packs import run
from orchestrator.engine.trial import Job
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.outputs import write_outputs
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study


class Quiet(Observer):
    """An observer that says nothing."""


def swept(study: Study) -> Planner:
    """Train everything that the ledger of the study's storage misses; returns the plan of all that is there."""
    ledger = Ledger(study.storage)
    planner = Planner(study, expand(study), ledger.find)
    while (trial := planner.next()) is not None:
        for _ in run(Job.of(trial, 0, study, study.storage)):
            pass
        record = ledger.find(trial.id, trial.phase)
        assert record is not None
        planner.finish(trial, record)
    return planner


def trained_here(path: Path, storage: Path) -> Path:
    """The storage of a study file that was swept here and reported: what a sweep must make, whatever happens to it."""
    study = Study.load(str(path), [f"storage={storage}"])
    write_outputs(study, swept(study), Ledger(study.storage))
    return storage


def told(capsys: pytest.CaptureFixture[str], *args: str | Path, code: int = 0) -> str:
    """All that a command says; a process of its own would take seconds to import."""
    capsys.readouterr()
    found = main([str(arg) for arg in args])
    said = capsys.readouterr()
    assert found == code, said.out + said.err
    return said.out + said.err
