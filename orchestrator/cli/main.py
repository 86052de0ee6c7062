"""The command line: parse, call one function each.

Nothing heavy is imported before a command is known.
"""

import argparse
import contextlib
import gc
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NoReturn

from orchestrator.cli import model as cli_model
from orchestrator.cli import report as cli_report
from orchestrator.cli import submit as cli_submit
from orchestrator.cli.background import HERE, attach, detach
from orchestrator.cli.console import hushed, say
from orchestrator.cli.data import DATA_COMMANDS, add_actions
from orchestrator.cli.export import add_export, export
from orchestrator.cli.guard import BAD_INPUT, COMPLETE, CUT_OFF, SOME_FAILED, STORAGE_FAILED, guarded
from orchestrator.cli.ledger import LEDGER_COMMANDS, add_ledger_actions
from orchestrator.cli.plan import add_plan, plan, say_notes
from orchestrator.cli.start import add_init, add_schema, init, schema
from orchestrator.cli.status import add_status, status
from orchestrator.cli.study import add_cluster, add_study, cluster_of, study_of
from orchestrator.errors import BadInput, shown

if TYPE_CHECKING:
    from orchestrator.api import Outcome


def _code(outcome: "Outcome") -> int:
    return COMPLETE if outcome.whole else SOME_FAILED


def sweep(args: argparse.Namespace) -> int:
    """Train what is missing, print and write the table; on another machine, submit and follow."""
    from orchestrator.storage.store import open_store
    from orchestrator.study.sharding import parse

    cluster = cluster_of(args, "ray" if args.address else "local")
    shard = None if args.shard is None else parse(os.path.expandvars(args.shard))
    study = study_of(args, cluster)
    if args.detach and not args.dry_run:
        if cluster.target != HERE or shard is not None or args.failed_ok:
            raise BadInput(
                "--detach is for a whole sweep on this machine: leave out --shard and --failed-ok; tailsweep submit "
                "sends a study to a cluster and comes back"
            )
        return detach(study, cluster, args)
    if cluster.target != HERE or args.dry_run or (shard is None and (args.shards or cluster.shards) > 1):
        if shard is not None or args.failed_ok:
            raise BadInput(
                f"--shard and --failed-ok are for a driver on this machine, and a study is sent to {cluster.name} as a "
                "whole: leave them out, or leave out --cluster, --shards and --dry-run"
            )
        return cli_submit.send(study, cluster, argparse.Namespace(**vars(args), follow=True))
    if shard is not None and args.shards:
        raise BadInput(f"--shard I/N says how many there are: got --shards {args.shards} as well; leave one out")
    if args.steal and shard is None:
        raise BadInput("--steal is for one of several drivers: it goes with --shard I/N, or with --shards N")
    try:
        cluster.check()
    except ValueError as err:
        raise BadInput(str(err)) from None
    open_store(study.storage)

    from rich.console import Console

    from orchestrator import api
    from orchestrator.cli.terminal import show, written

    console = Console()
    if shard is not None:
        state = api.sweep_shard(study, *shard, args.steal, cluster, console, args.retry_failed, args.replace)
        ended = "has spent its budget" if state.planner.spent else "is complete"
        say(f"shard {shard[0]}/{shard[1]} {ended}; tailsweep report {study.study} makes the tables when all are")
        return COMPLETE if args.failed_ok else _code(state)
    state = api.sweep(study, cluster, console, args.retry_failed, args.replace)
    say_notes(study)
    show(state.results, console, written(state))
    if state.planner.spent:
        say(
            f"The budget is spent: {state.planner.spending}, and {state.planner.left:,} trials are left. The same "
            "command with a larger budget goes on."
        )
    return COMPLETE if args.failed_ok else _code(state)


def track(args: argparse.Namespace) -> int:
    """Bring MLflow up to date with the ledger."""
    study = study_of(args)
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.storage.store import open_store
    from orchestrator.tracking import follow, tracker
    from orchestrator.tracking import track as project

    ledger = Ledger(open_store(study.storage, write=False))
    sent = (follow if getattr(args, "follow", False) else project)(study, ledger)
    say(f"{sent} trials sent to {tracker(study).address(study)}")
    return COMPLETE


def data(args: argparse.Namespace) -> int:
    """Data sets: list, check, fetch, preview, make-fixture."""
    return COMPLETE if DATA_COMMANDS[args.action](args) else BAD_INPUT


def ledger(args: argparse.Namespace) -> int:
    """Ledgers: compact, copy, verify."""
    return COMPLETE if LEDGER_COMMANDS[args.action](args) else STORAGE_FAILED


def completion(args: argparse.Namespace) -> int:
    """Print what makes a shell complete commands and options."""
    import shtab

    say(shtab.complete(parser(), args.shell))
    return COMPLETE


def _add_shell(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", choices=("bash", "zsh", "tcsh"))


COMMANDS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "init": init,
    "plan": plan,
    "sweep": sweep,
    "attach": attach,
    "status": status,
    "report": cli_report.report,
    "compare": cli_report.compare,
    "track": track,
    "submit": cli_submit.submit,
    "logs": cli_submit.logs,
    "cancel": cli_submit.cancel,
    "fit": cli_model.fit,
    "predict": cli_model.predict,
    "export": export,
    "data": data,
    "ledger": ledger,
    "schema": schema,
    "completion": completion,
}
ACTIONS: Final = {
    "data": add_actions,
    "ledger": add_ledger_actions,
    "report": cli_report.add_report,
    "compare": cli_report.add_compare,
    "fit": cli_model.add_fit,
    "predict": cli_model.add_predict,
    "export": add_export,
    "init": add_init,
    "schema": add_schema,
    "completion": _add_shell,
}
"""Commands that take other arguments than one study."""


def _running(command: argparse.ArgumentParser) -> None:
    command.add_argument("--address", metavar="HOST:PORT", help="a running Ray cluster, or auto")
    command.add_argument(
        "--failed-ok", action="store_true", help="exit with 0 when trials failed: the report says which"
    )
    command.add_argument("--detach", action="store_true", help="in the background, whatever becomes of the terminal")
    command.add_argument("--shard", metavar="I/N", help="train every N-th cell from the I-th on; I may be a $VARIABLE")


def _sharing(command: argparse.ArgumentParser) -> None:
    command.add_argument("--replace", action="store_true", help="give a study's name to another definition")
    command.add_argument("--retry-failed", action="store_true", help="train failed trials again")
    command.add_argument("--steal", action="store_true", help="then take cells of other shards that nobody works on")
    command.add_argument("--shards", type=_shards, metavar="N", help="number of drivers that share the cells")
    command.add_argument("--dry-run", action="store_true", help="print exactly what would be sent, and send nothing")


def _shards(text: str) -> int:
    """A number of drivers; raises ArgumentTypeError."""
    from clusters.profile import SHARDS

    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= SHARDS):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {SHARDS:,}: got {shown(text)}")
    return int(text)


def _flag(name: str, text: str) -> Callable[[argparse.ArgumentParser], None]:
    def add(command: argparse.ArgumentParser) -> None:
        command.add_argument(name, action="store_true", help=text)

    return add


_QUIET: Final = _flag("--quiet", "print errors only; the exit code says the rest")
ARGUMENTS: Final[dict[str, tuple[Callable[[argparse.ArgumentParser], None], ...]]] = {
    "plan": (add_cluster, add_plan),
    "sweep": (add_cluster, _running, _sharing, _QUIET),
    "status": (add_cluster, add_status),
    "track": (_flag("--follow", "until standard input ends"), _QUIET),
    "submit": (add_cluster, _sharing, _QUIET, _flag("--follow", "wait for the end and print the tables")),
    "logs": (add_cluster, _flag("--follow", "until it ends")),
    "cancel": (add_cluster,),
}
"""What a command takes beside the study."""


class _Parser(argparse.ArgumentParser):
    """Reports bad arguments in one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        """Raises BadInput."""
        raise BadInput(f"{message}; {self.prog} --help says what it takes")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = _Parser(
        prog="tailsweep",
        description="Hyperparameter studies for learning from imbalanced targets.",
        epilog="exit codes: 0 complete; 2 bad input; 3 some trials failed, the budget is spent, or the cluster or "
        "MLflow failed; 4 the storage failed; 130 interrupted, 143 told to stop: the same command continues; 1 a fault "
        "of tailsweep itself",
    )
    top.add_argument("--version", action="version", version=f"tailsweep {version('tailsweep')}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in COMMANDS.items():
        doc = (function.__doc__ or "").strip()
        command = commands.add_parser(name, help=doc[0].lower() + doc[1:].rstrip("."), description=doc)
        if name in ACTIONS:
            ACTIONS[name](command)
            continue
        add_study(command)
        for add in ARGUMENTS.get(name, ()):
            add(command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    gc.set_threshold(100_000, 50, 50)  # imports make a million objects that live on: fewer looks through them
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # mimalloc gives memory back to be asked for it again

    def command() -> int:
        args = parser().parse_args(argv)
        with hushed() if getattr(args, "quiet", False) else contextlib.nullcontext():
            return COMMANDS[args.command](args)

    return guarded(command)


def entry() -> None:
    """The console script: leaves without tearing down libraries that take half a second to forget themselves."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no × gets a question mark
    try:
        code = main()
        code = guarded(_flushed) or code
    except BrokenPipeError:  # `tailsweep plan | head`; as a signal it would kill a sweep whose S3 drops a connection
        code = CUT_OFF
    os._exit(code)


def _flushed() -> int:
    """What is left in the buffers is written; a disk that is full is reported."""
    sys.stdout.flush()
    sys.stderr.flush()
    return COMPLETE


if __name__ == "__main__":
    entry()
