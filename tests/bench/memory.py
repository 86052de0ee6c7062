"""Memory of driver and worker over many tiny trials: `python -m bench.memory --trials 1000`.

Every trial is an epoch on the quickstart's table; one worker trains them all. What both hold at the end is compared
with what they held after the first quarter.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from clusters.profile import Profile
from orchestrator.api import outcome
from orchestrator.engine.memory import resident_mb
from orchestrator.engine.observer import Observer
from orchestrator.engine.tune import sweep
from orchestrator.ledger.records import Record
from orchestrator.study.cells import Trial
from orchestrator.study.spec import Study

MOST: Final = 1.05
"""Growth that is allowed."""
START: Final = {"num_cpus": 1, "include_dashboard": False, "log_to_driver": False}


class Held(Observer):
    """Notes what the driver holds, and what the worker held at most, after every trial."""

    def __init__(self) -> None:
        self.driver: list[float] = []
        self.worker: list[float] = []

    def finished(self, trial: Trial, record: Record) -> None:
        assert record.memory_mb is not None
        self.driver.append(resident_mb())
        self.worker.append(record.memory_mb)


def held(trials: int, storage: Path, **resources: Any) -> Held:
    """Sweep two recipes with so many trials between them."""
    study = Study.of(
        {
            "study": "many",
            "workloads": ["nhanes-sbp"],
            "recipes": {"also": ["l1", "l1 + lds"]},
            "tune": {"trials": max(1, trials // 2 - 1), "parallel": 1, "sampler": "random", "rescore": 1},
            "evaluate": {"seeds": 1},
            "train": {"epochs": 1},
            "tracking": {"enabled": False},
            "resources": resources,
            "storage": str(storage),
        }
    )
    state, noted = outcome(study), Held()
    sweep(study, state.planner, state.ledger, Profile(name="one", start=START), noted)
    return noted


def main() -> int:
    """Print both; exit code 1 where one has grown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--recycle-after", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        noted = held(given.trials, Path(folder), recycle_after=given.recycle_after)
    grown = 0
    for name, series in (("driver", noted.driver), ("worker", noted.worker)):
        early, late = series[len(series) // 4], series[-1]
        sys.stdout.write(f"{name}: {early:.0f} to {late:.0f} MB over {len(series)} trials, × {late / early:.3f}\n")
        grown += late > MOST * early
    return int(grown > 0)


if __name__ == "__main__":
    sys.exit(main())
