"""tailsweep export: parse, call one function."""

import argparse
from pathlib import Path
from typing import Final

from orchestrator.cli.console import say
from orchestrator.cli.guard import COMPLETE
from orchestrator.cli.study import add_study, study_of

FORMATS: Final = ("best", "csv", "json", "parquet", "optuna", "tensorboard", "wandb")
"""Those of `orchestrator.export.EXPORTS`, which is slow to import."""


def export(args: argparse.Namespace) -> int:
    """Write a study for other tools: best settings as studies, tidy data, Optuna's storage, TensorBoard, W&B."""
    study = study_of(args)
    from orchestrator.api import outcome
    from orchestrator.export import Exported
    from orchestrator.export import export as write

    state = outcome(study, write=False)
    what = Exported(study, state.planner, state.ledger)
    for line in write(what, args.format or list(FORMATS[:4]), Path(args.to)):
        say(line)
    return COMPLETE


def add_export(command: argparse.ArgumentParser) -> None:
    """The study, and what of it goes where."""
    add_study(command)
    command.add_argument("--to", required=True, metavar="DIR", help="the folder to write to")
    command.add_argument("--format", action="append", choices=FORMATS, help="repeatable (best, csv, json and parquet)")
