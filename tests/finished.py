"""A finished study in memory, of made-up records: what a report or a tracker is given."""

from builders import record
from orchestrator.ledger.records import Record
from orchestrator.study.cells import expand
from orchestrator.study.planner import Planner
from orchestrator.study.spec import Study


def finished(study: Study, stopped: int | None = None) -> Planner:
    """Its plan, every trial with an outcome: one failed seed, and a trial of each search `stopped` early."""
    planner = Planner(study, expand(study), lambda trial_id, phase: None)
    while (trial := planner.next()) is not None:
        failed = trial.phase == "evaluate" and trial.number == 1
        early = trial.phase == "tune" and trial.number == stopped
        outcome: Record = record(trial, 4.0 + trial.number, "failed" if failed else "stopped" if early else "completed")
        planner.finish(trial, outcome)
    return planner
