"""tailsweep status: how a study stands, once or until it is done, for people and programs."""

import argparse

from orchestrator.cli.background import background
from orchestrator.cli.console import say
from orchestrator.cli.standing import code_of, show, watch
from orchestrator.cli.study import study_of
from orchestrator.cli.submit import status as status_there
from orchestrator.errors import BadInput


def add_status(command: argparse.ArgumentParser) -> None:
    """What `status` takes beside the study and the cluster."""
    command.add_argument("--json", action="store_true", help="machine-readable")
    command.add_argument("--watch", action="store_true", help="again and again, until the study is done")


def status(args: argparse.Namespace) -> int:
    """How far a study is, what failed and what is missing; with a cluster, what that says of it."""
    if args.cluster:
        if args.json or args.watch:
            raise BadInput(
                "--json and --watch tell of the ledger: leave out --cluster, which a storage that this machine can "
                "read does not need; tailsweep logs --follow shows what a cluster does"
            )
        return status_there(args)
    study = study_of(args)
    from orchestrator.api import statuses

    there = background(study)
    found = (made.model_copy(update={"background": there.word}) for made in statuses(study))
    if args.watch:
        return code_of(watch(found, lambda made: made.over, args.json))
    made = next(found)
    show(made, args.json)
    if there.word and not args.json:
        say(there.told)
    return code_of(made)
