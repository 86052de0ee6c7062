"""tailsweep ledger compact | copy | verify | repair: parse, call one function each."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from orchestrator.cli.console import progress, say

if TYPE_CHECKING:
    from orchestrator.ledger.ledger import Ledger


def _existing(storage: str, write: bool = False) -> "Ledger":
    from orchestrator.errors import BadInput
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.storage.store import open_store

    ledger = Ledger(open_store(storage, write=False))
    if not ledger.store.keys("ledger/"):
        raise BadInput(f"there must be a ledger: {ledger.store.uri} holds no trials; is it the storage of a study?")
    return Ledger(open_store(storage)) if write else ledger


def ledger_compact(args: argparse.Namespace) -> bool:
    """Move many small records into few large objects, while sweeps go on; reading becomes quicker."""
    from orchestrator.ledger.names import PHASES

    ledger = _existing(args.storage, write=True)
    moved = sum(ledger.compact(phase) for phase in PHASES)
    say(f"{moved} records compacted in {ledger.store.locate('ledger/compact/')}")
    return True


def ledger_copy(args: argparse.Namespace) -> bool:
    """Copy a ledger to another storage, folder or S3; what is there is kept, and a copy that was cut off goes on."""
    from orchestrator.ledger.copying import copy
    from orchestrator.ledger.ledger import Ledger

    source, target = _existing(args.source), Ledger(args.target)
    written = copy(source, target, progress)
    say(f"{written} objects copied to {target.store.locate('ledger/')}; tables are made by tailsweep report")
    return True


def ledger_verify(args: argparse.Namespace) -> bool:
    """Read everything and name what is damaged; exit code 4 if anything is."""
    from orchestrator.ledger.checking import verify

    found = verify(_existing(args.storage))
    for line in found.damage:
        say(f"damaged: {line}")
    for line in found.notes:
        say(f"note: {line}")
    say(f"{found.records} records, {found.predictions} predictions, {len(found.damage)} damaged")
    return not found.damage


def ledger_repair(args: argparse.Namespace) -> bool:
    """Keep what can be read of damaged files, and set them aside, so that the next sweep trains what is lost."""
    from orchestrator.ledger.repair import repair

    store = _existing(args.storage, write=True).store
    done = repair(store, say)
    say(f"{done} files and records set aside below {store.locate('ledger/damaged/')}; nothing was deleted")
    return True


LEDGER_COMMANDS: Final[dict[str, Callable[[argparse.Namespace], bool]]] = {
    "compact": ledger_compact,
    "copy": ledger_copy,
    "verify": ledger_verify,
    "repair": ledger_repair,
}
STORAGE: Final = ("storage", "STORAGE", "a folder or s3://BUCKET/PREFIX")
ARGUMENTS: Final = {
    "compact": [STORAGE],
    "copy": [("source", "SRC", "the storage to copy"), ("target", "DST", "a folder or s3://BUCKET/PREFIX")],
    "verify": [STORAGE],
    "repair": [STORAGE],
}


def add_ledger_actions(command: argparse.ArgumentParser) -> None:
    """Give the command its actions and their arguments."""
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, function in LEDGER_COMMANDS.items():
        doc = (function.__doc__ or "").strip()
        action = actions.add_parser(name, help=doc[0].lower() + doc[1:].rstrip("."), description=doc)
        for argument, metavar, text in ARGUMENTS[name]:
            action.add_argument(argument, metavar=metavar, help=text)
