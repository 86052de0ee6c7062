"""From a study file to tables: knows Ray, Optuna, MLflow and Arrow.

From Python:

    from orchestrator import Ledger, Study, sweep, write_report

    study = Study.load("quickstart")
    sweep(study)
    print(write_report(study)["table.md"])
    trials = Ledger(study.storage).read("evaluate")  # an Arrow table
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.api import sweep, write_report
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.study.spec import Study

__all__ = ["Ledger", "Study", "sweep", "write_report"]


def __getattr__(name: str) -> Any:
    """Import on first use: the command line must answer before torch is loaded."""
    from importlib import import_module

    homes = {"Ledger": "ledger.ledger", "Study": "study.spec", "sweep": "api", "write_report": "api"}
    if name not in homes:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"orchestrator.{homes[name]}"), name)
