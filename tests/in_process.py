"""A study swept in this process, one trial after the other: what a sweep leaves behind, without Ray."""

from orchestrator.engine.packs import run
from orchestrator.engine.trial import Job
from orchestrator.ledger.ledger import Ledger
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study


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
