"""From a study file to tables: knows Ray, Optuna, MLflow and Arrow.

From Python:

    from orchestrator import Ledger, Study, report, sweep

    study = Study.load("quickstart")
    sweep(study)  # or: for record in stream(study)
    print(report(study)["table.md"])
    trials = Ledger(study.storage).read("evaluate")  # an Arrow table
    predictions = load_model("model").predict("new.csv")  # a folder that `tailsweep fit` made
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.api import report, stream, sweep
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.models.folder import load_model
    from orchestrator.study.spec import Study

__all__ = ["Ledger", "Study", "load_model", "report", "stream", "sweep"]


def __getattr__(name: str) -> Any:
    """Import on first use: the command line must answer before torch is loaded."""
    from importlib import import_module

    homes = {
        "Ledger": "ledger.ledger",
        "Study": "study.spec",
        "load_model": "models.folder",
        "report": "api",
        "stream": "api",
        "sweep": "api",
    }
    if name not in homes:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"orchestrator.{homes[name]}"), name)
